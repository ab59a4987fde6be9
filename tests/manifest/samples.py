"""A small valid manifest for tests, to be broken in one place each."""

MANIFEST = """\
manifest: 1
platform: sample
name: Sample
version: 1.2.3
category: other
docs: https://example.com
driver: http
profile:
  fields:
    - {id: base_url, type: url, required: true}
    - {id: account, optional: true}
    - {id: api_key, secret: true, required: true, pattern: '^sk_'}
auth: {type: bearer, secret: api_key}
transport:
  base_url: '${profile.base_url}'
  allowed_hosts: ['${profile.base_url}']
limits:
  - {id: read, rate: 100/1s, burst: 10, match: {op: read}}
errors:
  policy: {attempts: 3, base: 100ms, cap: 5s}
  rules:
    - {when: {status: [429]}, class: rate_limited, action: wait, wait: {header: retry-after, cap: 5m}}
    - {when: {status: ['500-599', '!501'], network: true}, class: transient, action: retry}
check:
  - {id: me, request: {path: /me}}
defaults:
  key: [id]
  read:
    request: {query: {limit: 100}}
    records: data
    page: {type: cursor, from: last_record.id, param: after, more: more}
resources:
  items:
    read:
      request: {path: /items}
      cursor: {field: updated, type: iso8601, start_param: since, lag: 1m}
  parts:
    parent: {resource: items}
    read: {request: {path: '/items/${parent.id}/parts'}}
tests:
  - {name: one, kind: read, resource: items, exchange: one.yaml, expect: {records: 1}}
"""
