# Impossible settings of the service: each is an error of the plan, before anything is made.

mock_provider "proxmox" {}

run "a_binary_that_is_not_there" {
  command = plan
  variables {
    binary = "no/such/file"
  }
  expect_failures = [var.binary]
}

run "a_folder_for_a_binary" {
  command = plan
  variables {
    binary = "tests"
  }
  expect_failures = [var.binary]
}

run "a_k6_binary_that_is_not_there" {
  command = plan
  variables {
    k6_binary = "no/such/file"
  }
  expect_failures = [var.k6_binary]
}

run "a_quota_of_nothing" {
  command = plan
  variables {
    quota = { limit = 0, window_seconds = 60 }
  }
  expect_failures = [var.quota]
}

run "a_quota_of_too_much" {
  command = plan
  variables {
    quota = { limit = 1000001, window_seconds = 60 }
  }
  expect_failures = [var.quota]
}

run "a_window_of_no_time" {
  command = plan
  variables {
    quota = { limit = 10, window_seconds = 0 }
  }
  expect_failures = [var.quota]
}

run "a_window_of_years" {
  command = plan
  variables {
    quota = { limit = 10, window_seconds = 99999999 }
  }
  expect_failures = [var.quota]
}

run "a_public_url_without_its_scheme" {
  command = plan
  variables {
    public_url = "sho.rt"
  }
  expect_failures = [var.public_url]
}

run "a_bad_setting" {
  command = plan
  variables {
    web_settings = { "SHUNT__CACHE__TTL" = "30s" }
  }
  expect_failures = [var.web_settings]
}

run "bad_memory_of_a_web_node" {
  command = plan
  variables {
    web_memory_max = "lots"
  }
  expect_failures = [var.web_memory_max]
}

run "a_drained_web_node_that_is_not_there" {
  command = plan
  variables {
    drained_web_nodes = ["web-3"]
  }
  expect_failures = [var.drained_web_nodes]
}

run "all_web_nodes_drained" {
  command = plan
  variables {
    drained_web_nodes = ["web-1", "web-2"]
  }
  expect_failures = [var.drained_web_nodes]
}

run "bad_memory_of_redis" {
  command = plan
  variables {
    redis_max_memory = "256"
  }
  expect_failures = [var.redis_max_memory]
}

run "a_backup_at_no_time" {
  command = plan
  variables {
    backup = { time = "24:00", keep = 14 }
  }
  expect_failures = [var.backup]
}

run "no_backup_kept" {
  command = plan
  variables {
    backup = { time = "03:15", keep = 0 }
  }
  expect_failures = [var.backup]
}

run "nobody_may_log_in" {
  command = plan
  variables {
    admin_networks = []
  }
  expect_failures = [var.admin_networks]
}

run "a_bad_admin_network" {
  command = plan
  variables {
    admin_networks = ["home"]
  }
  expect_failures = [var.admin_networks]
}

run "a_bad_monitoring_network" {
  command = plan
  variables {
    monitoring_networks = ["10.0.0.1"]
  }
  expect_failures = [var.monitoring_networks]
}

run "a_negative_number_of_connections" {
  command = plan
  variables {
    connections_per_client = -1
  }
  expect_failures = [var.connections_per_client]
}

run "half_a_connection" {
  command = plan
  variables {
    connections_per_client = 0.5
  }
  expect_failures = [var.connections_per_client]
}

run "a_password_with_a_quote" {
  command = plan
  variables {
    postgres_password = "it's-a-long-password"
  }
  expect_failures = [var.postgres_password]
}

run "a_short_password" {
  command = plan
  variables {
    redis_password = "short"
  }
  expect_failures = [var.redis_password]
}

run "a_certificate_and_its_key_mixed_up" {
  command = plan
  variables {
    tls = { certificate = "-----BEGIN PRIVATE KEY-----\n", private_key = "-----BEGIN CERTIFICATE-----\n" }
  }
  expect_failures = [var.tls]
}
