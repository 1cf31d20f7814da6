"""What goes wrong around a study: processes that are killed, nodes that go, files that are damaged, services that are away."""
