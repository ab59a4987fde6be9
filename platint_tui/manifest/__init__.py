"""Connector manifests and integration files: YAML as data, read strictly and checked before anything runs.

Import from the modules: `loader` (one file to a typed connector), `registry` (find connectors), `schema` (the
types), `template` (interpolation), `integration` (the operator's file), `form` (profile fields), `explain`,
`vectors` (recorded exchanges). Importing this package loads neither pydantic nor a YAML parser.
"""
