package ingest

// The bounds that tests need.
const (
	LeastTime = leastTime
	MaxLines  = maxLines
)
