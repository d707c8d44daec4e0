"""The ROS 2 layer: a thin node around the pipeline, and what plays, records and checks its topics."""
