"""The Dagster room: assets, checks, jobs, schedule, sensors and resources; the only room that imports dagster."""
