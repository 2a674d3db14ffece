# What changes machines, and makes none anew; see scripts/terraform-check.
sizes = { web = { memory = 2048 }, postgres = { disk = 40 } }
tags  = ["another"]
