"""Networks: the deployable PerceptionNet and its static form for export."""
