# The same roles on machines that exist already. Here there are none; scripts/homelab-test has real ones.

variables {
  ssh_command = "tests/ssh"
  binary      = "../dist/shunt"
}

run "all_of_it_can_be_applied" {
  module {
    source = "./existing-hosts"
  }
  assert {
    condition     = length(output.addresses) == 6 && output.service_url == "http://10.0.0.100"
    error_message = "Not the six machines: ${jsonencode(output.addresses)}"
  }
  assert {
    condition     = alltrue([for settings in values(module.service.settings) : strcontains(settings, "GUEST_AGENT='false'")])
    error_message = "A machine that need not be a guest of QEMU gets its agent."
  }
  assert {
    condition     = strcontains(module.service.settings["lb-1"], "CLIENT_CONNECTIONS='512'")
    error_message = "A client's connections are not bound."
  }
}

run "clients_behind_another_balancer" {
  command = plan
  module {
    source = "./existing-hosts"
  }
  variables {
    connections_per_client = 0
  }
  assert {
    condition     = strcontains(module.service.settings["lb-1"], "CLIENT_CONNECTIONS='0'")
    error_message = "A client's connections are bound."
  }
}

run "a_negative_number_of_connections" {
  command = plan
  module {
    source = "./existing-hosts"
  }
  variables {
    connections_per_client = -1
  }
  expect_failures = [var.connections_per_client]
}

run "no_web_node" {
  command = plan
  module {
    source = "./existing-hosts"
  }
  variables {
    web_nodes = []
  }
  expect_failures = [var.web_nodes]
}

run "two_machines_with_one_address" {
  command = plan
  module {
    source = "./existing-hosts"
  }
  variables {
    web_nodes = ["10.0.0.111", "10.0.0.130"]
  }
  expect_failures = [var.web_nodes]
}

run "a_virtual_address_for_one_load_balancer" {
  command = plan
  module {
    source = "./existing-hosts"
  }
  variables {
    virtual_address = "10.0.0.99/24"
  }
  expect_failures = [var.virtual_address]
}

run "a_binary_that_is_not_there" {
  command = plan
  module {
    source = "./existing-hosts"
  }
  variables {
    binary = "no/such/file"
  }
  expect_failures = [var.binary]
}

run "a_quota_of_nothing" {
  command = plan
  module {
    source = "./existing-hosts"
  }
  variables {
    quota = { limit = 0, window_seconds = 60 }
  }
  expect_failures = [var.quota]
}
