"""Every table and figure of docs/privacy.md, computed: `python -m dpdau_assets.evaluation.privacy_tables`.

The default settings are tabulated, whatever the environment says, because the page is about them.
"""
