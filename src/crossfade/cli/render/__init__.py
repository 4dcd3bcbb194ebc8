"""What people see: values become calm, aligned text. Everything here is pure but `printer`, which prints it."""
