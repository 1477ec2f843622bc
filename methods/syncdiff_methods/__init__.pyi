# For type checkers, to which an editable install is a package of stubs: build_backend/editable_types.py.
