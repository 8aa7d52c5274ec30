module ai102.invalid/pause

go 1.26.0
