package message

// Counts is what became of messages, in the words that logs, metrics and summaries share.
type Counts struct {
	// Stored are new rows. Duplicate were stored by an earlier delivery, or are repeated in the
	// batch.
	Stored    int `json:"stored"`
	Duplicate int `json:"duplicate"`
	// Rejected can never be stored.
	Rejected int            `json:"rejected"`
	Reasons  map[Reason]int `json:"reasons"`
	// Returned go back to the queue, not for what they carry.
	Returned int           `json:"returned"`
	Causes   map[Cause]int `json:"causes"`
}

// Add counts the verdicts on a batch. inserted is how many of its rows are new.
func (c *Counts) Add(verdicts []Verdict, inserted int) {
	c.Stored += inserted
	c.Duplicate -= inserted
	for i := range verdicts {
		switch v := &verdicts[i]; v.Outcome {
		case Stored, Repeated:
			c.Duplicate++
		case Rejected:
			c.Rejected++
			if c.Reasons == nil {
				c.Reasons = map[Reason]int{}
			}
			c.Reasons[v.Rejection.Reason]++
		default:
			c.Returned++
			if c.Causes == nil {
				c.Causes = map[Cause]int{}
			}
			c.Causes[v.Cause]++
		}
	}
}
