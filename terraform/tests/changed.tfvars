# Values that change machines and replace none; see scripts/terraform-check.
sizes = { web = { memory = 2048 }, postgres = { disk = 40 } }
tags  = ["another"]
