"""Which settings decide what a release may lose: what every experiment takes over from the settings in force."""

PRIVACY_SETTINGS = (
    "delta",
    "advanced_delta",
    "rdp_orders",
    "epsilon_dau",
    "epsilon_wau",
    "epsilon_mau",
    "dau_budget_total",
    "wau_budget_total",
    "mau_budget_total",
    "joint_budget_total",
    "total_budget_month",
    "total_budget_365d",
    "revision_reserve",
)
