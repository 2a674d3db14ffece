# What a change does, and that it never replaces a machine. Runs follow each other, like applies. tests/ssh writes to
# ssh.log which machine got which command; the files that change are those of the temporary copy.
#
# A mocked provider does not know which attributes replace a machine; scripts/terraform-check asks the real one.

mock_provider "proxmox" {
  mock_resource "proxmox_download_file" {
    defaults = { id = "local:import/debian.qcow2" }
  }
}

variables {
  ssh_command = "tests/ssh"
}

run "applied_for_the_first_time" {}

run "forget" {
  module {
    source = "./tests/append"
  }
  variables {
    file = "tests/ssh.log"
    line = ""
  }
}

run "applied_again" {
  assert {
    condition     = output.machines == run.applied_for_the_first_time.machines
    error_message = "Machines were made anew."
  }
}

run "nothing_was_done_again" {
  command = plan
  module {
    source = "./tests/read"
  }
  variables {
    file = "tests/ssh.log"
  }
  assert {
    condition     = length(output.lines) == 0
    error_message = "Done again: ${join(", ", output.lines)}"
  }
}

run "change_a_file_of_the_database" {
  module {
    source = "./tests/append"
  }
  variables {
    file = "roles/postgres/shunt.conf"
    line = "# changed"
  }
}

run "applied_with_another_file_of_the_database" {
  assert {
    condition     = output.machines == run.applied_for_the_first_time.machines
    error_message = "A role's file made machines anew."
  }
}

run "the_database_alone_was_set_up_again" {
  command = plan
  module {
    source = "./tests/read"
  }
  variables {
    file = "tests/ssh.log"
  }
  assert {
    condition     = output.lines == tolist(["postgres: set up"])
    error_message = "Done: ${join(", ", output.lines)}"
  }
}

run "change_the_binary" {
  module {
    source = "./tests/append"
  }
  variables {
    file = "../dist/shunt"
    line = "another release"
  }
}

run "forget_again" {
  module {
    source = "./tests/append"
  }
  variables {
    file = "tests/ssh.log"
    line = ""
  }
}

run "applied_with_another_binary" {
  assert {
    condition     = output.machines == run.applied_for_the_first_time.machines
    error_message = "A release made machines anew."
  }
}

run "the_release_was_rolled_out" {
  command = plan
  module {
    source = "./tests/read"
  }
  variables {
    file = "tests/ssh.log"
  }
  assert {
    condition     = output.lines == tolist(["web-1: migrate", "web-1: stage", "web-1: switch", "web-2: stage", "web-2: switch"])
    error_message = "Done: ${join(", ", output.lines)}"
  }
}

run "another_quota" {
  variables {
    quota = { limit = 20, window_seconds = 60 }
  }
  assert {
    condition     = output.machines == run.applied_for_the_first_time.machines
    error_message = "Another quota made machines anew."
  }
  assert {
    condition     = strcontains(module.service.settings["web-1"], "QUOTA='20/60s'")
    error_message = "web-1 is not told the quota: ${module.service.settings["web-1"]}"
  }
}

run "more_web_nodes" {
  variables {
    web_count = 3
  }
  assert {
    condition     = { for name, machine in output.machines : name => machine if name != "web-3" } == run.applied_for_the_first_time.machines
    error_message = "One more web node made others anew."
  }
}

run "other_keys_and_another_image" {
  variables {
    ssh_public_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB somebody@example"]
    image           = { url = "https://example.com/images/debian-12-newer.qcow2", sha512 = join("", [for i in range(128) : "1"]) }
    tags            = ["another"]
  }
  assert {
    condition     = output.machines == run.applied_for_the_first_time.machines
    error_message = "Other keys, or a newer image, made machines anew."
  }
}
