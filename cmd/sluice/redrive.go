package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/deadletters"
	"example.com/owner/sluice/internal/message"
)

type redriveCmd struct {
	From      string           `placeholder:"URL" help:"The dead-letter queue; default: DEAD_LETTER_QUEUE_URL."`
	To        string           `placeholder:"URL" help:"The queue that the messages came from; default: SQS_URL."`
	Reason    []message.Reason `placeholder:"WORD" completion-predictor:"reason" help:"Only messages with one of these reasons; peek shows them. Of several problems of a body, the first counts."`
	Model     []string         `placeholder:"NAME" help:"Only messages that one of these models rejected; peek shows them."`
	OlderThan span             `placeholder:"DURATION" help:"Only messages that were first sent longer ago than this, as in 36h, 2d or 1w."`
	NewerThan span             `placeholder:"DURATION" help:"Only messages that were first sent more recently than this."`
	Max       int              `placeholder:"N" help:"Send at most this many."`
	AnySource bool             `help:"Also messages that SQS moved from another queue than --to, or that another model than SLUICE_MODEL rejected."`
	Force     bool             `help:"Also when --from has a redrive policy of its own, of which each look at a message costs one receive."`
	DryRun    bool             `help:"Count only; send nothing."`
	JSON      bool             `help:"Print JSON instead of a table."`
}

// Help returns the details.
func (redriveCmd) Help() string {
	return `Each message is sent with its attributes and its group, without sluice's note, ten messages at a time. It is deleted from
the dead-letter queue when SQS has confirmed the send, so no message is lost. Two things can leave messages in both
queues, and the next redrive would send those again: kill -9 leaves up to 10; and when a response from SQS is lost,
nothing is retried and the command names the messages. A model whose key is in the body (as orders) still stores them
once, and a FIFO queue takes them once within 5 minutes.

Several queues can share a dead-letter queue. Messages that SQS moved from another queue than --to stay there, as do
messages that another model than SLUICE_MODEL rejected; --any-source takes both.

Messages that do not match are returned when the command ends. Messages that arrive after its start are left alone.
Another consumer holds messages in flight until their visibility timeout expires. To move those too, run the command
again later. An interrupt ends it after the current ten messages.

  sluice redrive --dry-run
  sluice redrive --reason refused_by_database --newer-than 2d`
}

// Validate implements kong's check of the arguments.
func (c *redriveCmd) Validate() error {
	known := deadletters.Reasons()
	for _, r := range c.Reason {
		if !slices.Contains(known, r) {
			return fmt.Errorf("--reason: a word is not a reason; there are %s", strings.Join(reasonWords(), ", "))
		}
	}
	switch {
	case c.OlderThan > 0 && c.NewerThan > 0 && c.OlderThan >= c.NewerThan:
		return errors.New("no message is older than --older-than and newer than --newer-than")
	case c.Max < 0:
		return errors.New("--max must be 0 (all) or more")
	}
	return nil
}

// reasonWords lists the reasons that --reason takes.
func reasonWords() (words []string) {
	for _, r := range deadletters.Reasons() {
		words = append(words, string(r))
	}
	return words
}

// Run implements the command.
func (c *redriveCmd) Run(ctx context.Context, con *console) error {
	parts, _ := con.load() // what is wrong with the rest of the configuration does not matter here
	from, err := con.openQueue(ctx, parts, c.From, "DEAD_LETTER_QUEUE_URL", "--from")
	if err != nil {
		return err
	}
	to, err := con.openQueue(ctx, parts, c.To, "SQS_URL", "--to")
	if err != nil {
		return err
	}
	models := c.models(con, parts.Config)
	bar := con.progress("receiving")
	r := deadletters.Redrive{
		From: from, To: to, Select: deadletters.Selection{Reasons: c.Reason, Models: c.Model, OlderThan: time.Duration(c.OlderThan), NewerThan: time.Duration(c.NewerThan)},
		Max: c.Max, Models: models, AnySource: c.AnySource, DryRun: c.DryRun, Progress: bar.set,
	}
	if from.Settings.DeadLetterARN != "" && !c.Force && from.Settings.ARN != to.Settings.ARN {
		return errForce(from.URL)
	}
	s, err := r.Run(ctx)
	bar.end()
	if errors.Is(err, deadletters.ErrSameQueue) {
		return fmt.Errorf("%w: messages would be sent to the queue that they are in; set DEAD_LETTER_QUEUE_URL (or --from) to the dead-letter queue and SQS_URL (or --to) to the queue that they came from", err)
	}
	if errors.Is(err, context.Canceled) {
		err = fmt.Errorf("%w; the other messages are still in the dead-letter queue", errStopped)
	}
	return c.report(con, &s, shownURL(from.URL), shownURL(to.URL), models, prefixed(errors.Join(err, s.Err())))
}

// models returns the names of the configured models, nil when they cannot be read:
// then messages can still be sent back, without a look at which model rejected them.
func (c *redriveCmd) models(con *console, cfg *config.Config) []string {
	switch {
	case cfg.Models != nil:
		return modelNames(cfg.Models)
	case !c.AnySource:
		fmt.Fprintln(con.stderr, "sluice: the model of SLUICE_MODEL cannot be read, so messages that another model rejected are sent too; `sluice schema` reports what is wrong with it")
	}
	return nil
}

// prefixed begins each line of joined errors as the first begins.
func prefixed(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "\nsluice: "))
}

// errForce is why a queue with a redrive policy is not looked into.
func errForce(queueURL string) error {
	return fmt.Errorf("%s has a redrive policy: each look at a message costs one of the receives that the policy allows, and may move the message away; give --force to do it all the same", shownURL(queueURL))
}

// redriven is the summary for scripts.
type redriven struct {
	From   string `json:"from"`
	To     string `json:"to"`
	DryRun bool   `json:"dry_run"`
	*deadletters.Summary
}

// report prints the summary, and returns the error.
func (c *redriveCmd) report(con *console, s *deadletters.Summary, from, to string, models []string, err error) error {
	if c.JSON {
		return con.printJSON(redriven{from, to, c.DryRun, s}, err)
	}
	t := con.table("reason", "messages", "which means")
	for _, reason := range slices.Sorted(maps.Keys(s.Reasons)) {
		t.row(reason, s.Reasons[reason], prose(deadletters.Explain(reason)))
	}
	if len(s.Reasons) > 0 {
		t.print()
		fmt.Fprintln(con.stdout)
	}
	done := fmt.Sprintf("%d sent to %s, %d deleted here", s.Sent, to, s.Deleted)
	if c.DryRun {
		done = fmt.Sprintf("they would be sent to %s (dry run)", to)
	}
	con.say("%s: %s at the start, %s examined, %s matched; %s.", from, many(s.There, "message"), number(s.Looked), number(s.Matched), done)
	inFlight := min(s.InFlight, max(0, s.There-s.Looked))
	for _, left := range []struct {
		n    int
		text string
	}{
		{s.OtherQueue, "came from another queue and stay; --any-source takes them too"},
		{s.OtherModel, "were rejected by another model than " + strings.Join(models, ", ") + " and stay; set SLUICE_MODEL to it, or use --any-source"},
		{s.Newer, "arrived after the start and were left alone"},
		{inFlight, "are in flight, held by another consumer: run the command again after their visibility timeout"},
		{s.There - s.Looked - inFlight, "were not examined: delayed, after others of their group, or beyond --max"},
		{s.Unreturned, "could not be returned; they reappear when their visibility timeout expires"},
	} {
		if left.n > 0 {
			con.say("%s %s.", number(left.n), left.text)
		}
	}
	for _, list := range []struct {
		what string
		ids  []string
	}{{"not sent", s.NotSent}, {"perhaps sent; it may be in both queues", s.MaybeSent}, {"sent but not deleted", s.Undeleted}} {
		for i, id := range list.ids {
			if i == maxNumbers {
				fmt.Fprintf(con.stderr, "sluice: %s: %d more (--json lists them)\n", list.what, len(list.ids)-i)
				break
			}
			fmt.Fprintf(con.stderr, "sluice: %s: message %s\n", list.what, id)
		}
	}
	return err
}
