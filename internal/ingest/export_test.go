package ingest

import "sluice/internal/message"

// AfterCheck has f called with each message that is checked, so that a test
// can panic there.
func (p *Pipeline) AfterCheck(f func(*message.Message)) { p.afterCheck = f }

// The bounds that tests need.
const (
	LeastTime = leastTime
	MaxLines  = maxLines
)
