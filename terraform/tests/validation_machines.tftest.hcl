# Impossible networks, addresses, ids and sizes: each is an error of the plan, before anything is made.

mock_provider "proxmox" {}

run "no_web_node" {
  command = plan
  variables {
    web_count = 0
  }
  expect_failures = [var.web_count]
}

run "half_a_web_node" {
  command = plan
  variables {
    web_count = 1.5
  }
  expect_failures = [var.web_count]
}

run "no_load_balancer" {
  command = plan
  variables {
    load_balancer_count = 0
  }
  expect_failures = [var.load_balancer_count]
}

run "three_load_balancers" {
  command = plan
  variables {
    load_balancer_count = 3
  }
  expect_failures = [var.load_balancer_count]
}

run "a_bad_cidr" {
  command = plan
  variables {
    network = { cidr = "10.0.0.0" }
  }
  expect_failures = [var.network]
}

run "a_cidr_of_ipv6" {
  command = plan
  variables {
    network = { cidr = "fd00::/64", gateway = "fd00::1" }
  }
  expect_failures = [var.network]
}

run "a_cidr_with_too_few_addresses" {
  command = plan
  variables {
    network = { cidr = "10.0.0.0/30" }
  }
  expect_failures = [var.network]
}

run "a_gateway_outside_the_cidr" {
  command = plan
  variables {
    network = { gateway = "10.0.1.1" }
  }
  expect_failures = [var.network]
}

run "a_gateway_that_is_the_network_itself" {
  command = plan
  variables {
    network = { gateway = "10.0.0.0" }
  }
  expect_failures = [var.network]
}

run "a_gateway_that_is_no_address" {
  command = plan
  variables {
    network = { gateway = "router" }
  }
  expect_failures = [var.network]
}

run "a_bad_bridge" {
  command = plan
  variables {
    network = { bridge = "my bridge" }
  }
  expect_failures = [var.network]
}

run "a_bad_vlan" {
  command = plan
  variables {
    network = { vlan_id = 4095 }
  }
  expect_failures = [var.network]
}

run "a_dns_server_by_name" {
  command = plan
  variables {
    network = { dns = ["dns.example"] }
  }
  expect_failures = [var.network]
}

run "a_cidr_that_does_not_contain_the_web_nodes" {
  command = plan
  variables {
    web_first_address = "10.0.1.111"
  }
  expect_failures = [var.web_first_address]
}

run "a_cidr_that_does_not_contain_the_last_web_node" {
  command = plan
  variables {
    web_first_address = "10.0.0.250"
    web_count         = 6
  }
  expect_failures = [var.web_first_address]
}

run "a_first_address_that_is_none" {
  command = plan
  variables {
    web_first_address = "10.0.0"
  }
  expect_failures = [var.web_first_address]
}

run "a_first_address_with_a_prefix_length" {
  command = plan
  variables {
    web_first_address = "10.0.0.111/24"
  }
  expect_failures = [var.web_first_address]
}

run "a_cidr_that_does_not_contain_the_database" {
  command = plan
  variables {
    addresses = { postgres = "192.168.1.200" }
  }
  expect_failures = [var.addresses]
}

run "a_cidr_that_contains_none_of_the_addresses" {
  command = plan
  variables {
    network           = { cidr = "192.168.7.0/24", gateway = "192.168.7.1" }
    web_first_address = "192.168.7.111"
  }
  expect_failures = [var.addresses]
}

run "an_address_that_is_none" {
  command = plan
  variables {
    addresses = { redis = "redis" }
  }
  expect_failures = [var.addresses]
}

run "an_address_that_is_the_broadcasts" {
  command = plan
  variables {
    addresses = { redis = "10.0.0.255" }
  }
  expect_failures = [var.addresses]
}

run "two_machines_with_one_address" {
  command = plan
  variables {
    addresses = { redis = "10.0.0.200" }
  }
  expect_failures = [var.addresses]
}

run "a_machine_with_a_web_nodes_address" {
  command = plan
  variables {
    web_count = 20
  }
  expect_failures = [var.addresses]
}

run "a_machine_with_the_gateways_address" {
  command = plan
  variables {
    addresses = { redis = "10.0.0.1" }
  }
  expect_failures = [var.addresses]
}

run "fewer_addresses_than_load_balancers" {
  command = plan
  variables {
    load_balancer_count = 2
    addresses           = { load_balancers = ["10.0.0.100"] }
  }
  expect_failures = [var.addresses]
}

run "a_virtual_address_for_one_load_balancer" {
  command = plan
  variables {
    virtual_address = "10.0.0.99/24"
  }
  expect_failures = [var.virtual_address]
}

run "a_virtual_address_without_its_prefix_length" {
  command = plan
  variables {
    load_balancer_count = 2
    virtual_address     = "10.0.0.99"
  }
  expect_failures = [var.virtual_address]
}

run "a_virtual_address_outside_the_cidr" {
  command = plan
  variables {
    load_balancer_count = 2
    virtual_address     = "10.0.1.99/24"
  }
  expect_failures = [var.virtual_address]
}

run "a_virtual_address_that_a_machine_has" {
  command = plan
  variables {
    load_balancer_count = 2
    virtual_address     = "10.0.0.130/24"
  }
  expect_failures = [var.virtual_address]
}

run "a_virtual_address_that_the_gateway_has" {
  command = plan
  variables {
    load_balancer_count = 2
    virtual_address     = "10.0.0.1/24"
  }
  expect_failures = [var.virtual_address]
}

run "two_machines_with_one_vm_id" {
  command = plan
  variables {
    vm_ids = { postgres = 5010 }
  }
  expect_failures = [var.vm_ids]
}

run "a_vm_id_that_a_web_node_has" {
  command = plan
  variables {
    vm_ids = { redis = 5102 }
  }
  expect_failures = [var.vm_ids]
}

run "a_vm_id_for_no_machine" {
  command = plan
  variables {
    vm_ids = { database = 200 }
  }
  expect_failures = [var.vm_ids]
}

run "a_vm_id_that_is_reserved" {
  command = plan
  variables {
    vm_ids = { postgres = 99 }
  }
  expect_failures = [var.vm_ids]
}

run "a_base_of_reserved_vm_ids" {
  command = plan
  variables {
    vm_id_base = 0
  }
  expect_failures = [var.vm_id_base]
}

run "no_core" {
  command = plan
  variables {
    sizes = { web = { cores = 0 } }
  }
  expect_failures = [var.sizes]
}

run "too_little_memory" {
  command = plan
  variables {
    sizes = { redis = { memory = 256 } }
  }
  expect_failures = [var.sizes]
}

run "memory_in_gibibytes" {
  command = plan
  variables {
    sizes = { postgres = { memory = 4 } }
  }
  expect_failures = [var.sizes]
}

run "a_disk_that_is_smaller_than_the_image" {
  command = plan
  variables {
    sizes = { load_tester = { disk = 2 } }
  }
  expect_failures = [var.sizes]
}
