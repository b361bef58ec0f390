"""A Home in the mind of one process: nothing here touches a network."""
