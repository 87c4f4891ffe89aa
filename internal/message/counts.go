package message

// Counts is what became of messages, in the words that logs, metrics and summaries share.
type Counts struct {
	// Stored are new rows. Duplicate were stored by an earlier delivery, or are repeated in the
	// batch.
	Stored    int `json:"stored"`
	Duplicate int `json:"duplicate"`
	// Replaced have replaced an older row. Outdated have found a newer one.
	Replaced int `json:"replaced,omitzero"`
	Outdated int `json:"outdated,omitzero"`
	// Conflict have found the row of another message with the same key and other content, which
	// stays.
	Conflict int `json:"conflict,omitzero"`
	// Ignored are for a model that says so.
	Ignored int `json:"ignored,omitzero"`
	// Rejected can never be stored.
	Rejected int            `json:"rejected"`
	Reasons  map[Reason]int `json:"reasons"`
	// Returned go back to the queue, not for what they carry.
	Returned int           `json:"returned"`
	Causes   map[Cause]int `json:"causes"`
}

// Add counts the verdicts on a batch, with the tally of its rows.
func (c *Counts) Add(verdicts []Verdict, t Tally) {
	for i := range verdicts {
		c.Verdict(&verdicts[i])
	}
	c.Tally(t)
}

// Tally tells new rows and those that replaced another one from the duplicates, as which Verdict
// counts them.
func (c *Counts) Tally(t Tally) {
	c.Stored += t.Inserted
	c.Replaced += t.Replaced
	c.Duplicate -= t.Inserted + t.Replaced
}

// Verdict counts a verdict.
func (c *Counts) Verdict(v *Verdict) {
	switch v.Outcome {
	case Stored, Repeated:
		switch {
		case v.Outdated:
			c.Outdated++
		case v.Conflicts():
			c.Conflict++
		default:
			c.Duplicate++
		}
	case Ignored:
		c.Ignored++
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

// Special is the count of an outcome that only some models have.
type Special struct {
	Word     string
	Messages int
}

// Special returns these counts, always in the same order. Logs and metrics show them where they are
// not 0.
func (c *Counts) Special() [4]Special {
	return [...]Special{{"replaced", c.Replaced}, {"outdated", c.Outdated}, {"conflict", c.Conflict}, {"ignored", c.Ignored}}
}

// Done is how many messages can be deleted, apart from rejected ones.
func (c *Counts) Done() int {
	return c.Stored + c.Duplicate + c.Replaced + c.Outdated + c.Conflict + c.Ignored
}
