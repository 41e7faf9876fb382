"""The name that every `dagster.yaml` of a data folder holds; the storage itself is in `instance.event_log`."""

from dpdau_assets.orchestration.instance.event_log import HomeInstance as HomeInstance
