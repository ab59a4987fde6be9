"""Pure parts without I/O: model, errors, states, clocks, redaction, backoff, histograms, strict JSON."""
