# Adds a line to a file between two runs of a test, in the temporary copy that scripts/terraform-check makes.

variable "file" {
  description = "The file, from the root module's folder; it need not exist."
  type        = string
}

variable "line" {
  description = "The line. Empty: the file becomes empty."
  type        = string
}

resource "terraform_data" "append" {
  triggers_replace = [var.file, var.line]

  provisioner "local-exec" {
    command     = "if [ -n \"$LINE\" ]; then echo \"$LINE\" >>\"$FILE\"; else : >\"$FILE\"; fi"
    environment = { FILE = var.file, LINE = var.line }
  }
}
