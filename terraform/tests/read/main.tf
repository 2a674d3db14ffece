# Reads a file, for a test to compare.

variable "file" {
  description = "The file, from the root module's folder."
  type        = string
}

output "lines" {
  description = "Its lines, sorted, each once."
  value       = sort(distinct(compact(split("\n", file(var.file)))))
}
