package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/fault"
	"example.com/owner/sluice/internal/model"
	"example.com/owner/sluice/internal/sqs"
)

type checkCmd struct {
	JSON      bool              `help:"Print JSON instead of a table."`
	Timeout   time.Duration     `default:"30s" placeholder:"DURATION" help:"Limit of the whole check, and of each transaction of a sample (${default})."`
	Sample    string            `placeholder:"FILE" completion-predictor:"file" help:"Try bodies too, one per line; - for standard input. The file may be compressed with gzip."`
	Attribute map[string]string `placeholder:"NAME=VALUE" mapsep:"none" help:"Give the messages of the sample this attribute. It may be repeated."`
}

// Help returns the details.
func (checkCmd) Help() string {
	return `Checks the configuration; the table and the grants that the model needs; what keeps rows out of the table (rules,
triggers, partitions); whether the server's log shows values of rows; the queue and its dead-letter queue (SQS_URL,
DEAD_LETTER_QUEUE_URL); and the Lambda functions that read the queue. It receives no message and stores no row: rows that
test whether a trigger changes the key are rolled back (sequences may advance).

With --sample, every body goes through the model and into the live table, 1,000 in a transaction, which is rolled back:
nothing is stored, but sequences advance, an insert of the same key waits for that long, and the server's log may hold
rows that it refuses. The messages that carry the bodies are invented. Bodies that refer to each other are judged by
those of the same 1,000.

  sluice check --sample bodies.jsonl

Run it with the environment and the role of the function. The exit code is 1 when something would lose or delay messages.
Checks that could not be made are listed as skipped, and do not fail.`
}

// Run implements the command.
func (c *checkCmd) Run(ctx context.Context, con *console) error {
	if len(c.Attribute) > 0 && c.Sample == "" {
		return errors.New("--attribute is for the bodies of --sample")
	}
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	var f check.Findings
	parts := c.configuration(con, &f)
	c.masks(ctx, parts, &f)
	if set := parts.Config.Models; set != nil {
		f = append(f, check.Models(set)...)
	}
	c.database(ctx, parts, &f)
	c.queues(ctx, parts, &f)
	if c.Sample != "" {
		if err := c.sample(whole, con, parts, &f); err != nil {
			return err
		}
	}
	if ctx.Err() != nil && !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return errStopped
	}
	f.Sort()
	return c.report(con, f)
}

func (c *checkCmd) configuration(con *console, f *check.Findings) *app.App {
	parts, err := con.load(config.Database, config.Masks)
	problems, ok := errors.AsType[*config.ConfigError](err)
	switch {
	case ok:
		for _, p := range problems.Problems {
			f.Failure("configuration", "configuration", errors.New(p))
		}
	case err != nil:
		f.Failure("configuration", "configuration", err)
	default:
		listModels(parts.Config.Models, f)
	}
	return parts
}

// listModels adds which models are tried, in their order.
func listModels(set *model.Set, f *check.Findings) {
	for i, m := range set.Models {
		what := "the model is " + m.Name
		if len(set.Models) > 1 {
			what = fmt.Sprintf("model %d of %d is %s", i+1, len(set.Models), m.Name)
		}
		if m.Ignore {
			what += ", which discards what it takes"
		} else {
			what += ", for the table " + m.Table.Name
		}
		if m.When != nil {
			what += "; it takes a message if " + m.When.String()
		}
		f.Add(check.OK, "configuration", "configuration", "", "%s", what)
	}
}

func (c *checkCmd) masks(ctx context.Context, parts *app.App, f *check.Findings) {
	cfg := parts.Config
	if cfg.Keys == nil && cfg.MaskSecretARN == "" { // the configuration's findings have it
		return
	}
	keys, err := parts.Keys(ctx)
	switch {
	case err != nil:
		f.Failure("masks", "keys", err)
		return
	case cfg.Models != nil && !slices.ContainsFunc(cfg.Models.Models, masksFields):
		none := "the model has no personal field"
		if len(cfg.Models.Models) > 1 {
			none = "no model has a personal field"
		}
		if !cfg.Models.Masks() {
			f.Add(check.OK, "masks", "keys", "", "%s: nothing is masked, and no key is needed", none)
			return
		}
		f.Add(check.OK, "masks", "keys", "", "%s: nothing is masked, and its mask_key column holds the key's id", none)
	case keys.Keyed():
		f.Add(check.OK, "masks", "keys", "", "personal fields are masked with the key %s, the first of %d", keys.IDs()[0], len(keys.IDs()))
		if cfg.Models != nil {
			namelessKeys(cfg.Models, f)
		}
	}
	if what, remedy := keys.Warning(); what != "" {
		name := "published"
		if !keys.Keyed() {
			name = "unkeyed"
		}
		f.Add(check.Warning, "masks", name, remedy, "%s", what)
	}
}

func masksFields(m *model.Model) bool { return len(m.Personal()) > 0 }

// namelessKeys warns of models that mask and have no column with the key's id.
func namelessKeys(set *model.Set, f *check.Findings) {
	for _, m := range set.Models {
		if !masksFields(m) || slices.ContainsFunc(m.Columns, func(c model.Column) bool { return c.Meta == model.MetaMaskKey }) {
			continue
		}
		who := "the model"
		if len(set.Models) > 1 {
			who += " " + m.Name
		}
		f.Add(check.Warning, "masks", "mask_key", "add a column to the table and to the model, as in mask_key: {type: varchar(32), meta: mask_key}",
			"%s masks fields, and no column says with which key: after a rotation, nobody knows which rows have masks of the old one", who)
	}
}

func (c *checkCmd) database(ctx context.Context, parts *app.App, f *check.Findings) {
	cfg := parts.Config
	switch {
	case cfg.Models == nil || cfg.DatabaseURL == "" && cfg.DatabaseSecretARN == "":
		f.Add(check.Skipped, "database", "connect", "", "the database was skipped: fix the configuration first")
		return
	case parts.AltDatabase() != nil:
		c.altDatabase(ctx, parts, f)
		return
	}
	store, err := parts.Postgres()
	if err != nil {
		f.Failure("configuration", "configuration", err)
		return
	}
	defer store.Close()
	*f = append(*f, check.Database(ctx, store, cfg.Models, parts.Names())...)
}

// altDatabase tries the table of a database without roles and a network, by the statements that
// store rows.
func (c *checkCmd) altDatabase(ctx context.Context, parts *app.App, f *check.Findings) {
	store, err := parts.Open()
	if err == nil {
		defer store.Close()
		err = store.Ping(ctx)
	}
	if err != nil {
		f.Failure("database", "connect", err)
		return
	}
	tables := parts.Config.Models.Tables()
	what := "table"
	if len(tables) > 1 {
		what += "s"
	}
	names := make([]string, len(tables))
	for i, t := range tables {
		names[i] = t.Name
	}
	f.Add(check.OK, "database", "connect", "", "the SQLite database has the %s %s; it has neither roles nor a network, which were skipped", what, strings.Join(names, ", "))
}

// storeNothing are rules of findings with which every row is returned: a sample would only say so
// again.
var storeNothing = []string{"connect", "table_missing", "column_missing", "column_generated", "column_unfilled"}

// sample tries the bodies of a file. It returns an error if the file cannot be read.
func (c *checkCmd) sample(ctx context.Context, con *console, parts *app.App, f *check.Findings) error {
	cfg := parts.Config
	skip := func(why string) error {
		f.Add(check.Skipped, "sample", "sample", "", "the sample was skipped: %s", why)
		return nil
	}
	switch {
	case cfg.Models == nil || cfg.DatabaseURL == "" && cfg.DatabaseSecretARN == "" || cfg.Keys == nil && cfg.MaskSecretARN == "":
		return skip("fix the configuration first")
	case parts.AltDatabase() != nil:
		return skip("only Postgres can try rows; `sluice explain --summary` needs no database")
	}
	if i := slices.IndexFunc(*f, func(found check.Finding) bool {
		return found.Severity == check.Error && slices.Contains(storeNothing, found.Rule)
	}); i >= 0 {
		return skip("no row can be stored (" + (*f)[i].Rule + ")")
	}
	keys, err := parts.Keys(ctx)
	if err != nil {
		return skip("the masks have no key")
	}
	e, err := newExplainer(cfg.Models, keys, c.Attribute)
	if err != nil {
		return err
	}
	store, err := parts.Postgres()
	if err != nil {
		return skip("fix the configuration first")
	}
	defer store.Close()
	sample := check.NewSample(store, cfg.Models, keys, e.attributes, c.Timeout)
	bodies, events := 0, 0
	if err := con.eachLine(ctx, c.Sample, func(n int, body []byte) {
		sample.Add(ctx, n, body)
		if bodies++; eventMessages(body) > 0 {
			events++
		}
	}); err != nil {
		return fmt.Errorf("read the sample: %w", err)
	}
	con.noteEvents(events, bodies, c.Sample)
	*f = append(*f, sample.End(ctx)...)
	return nil
}

func (c *checkCmd) queues(ctx context.Context, parts *app.App, f *check.Findings) {
	cfg := parts.Config
	if cfg.QueueURL == "" {
		f.Add(check.Skipped, "queue", "queue", "set SQS_URL to the URL of the queue", "the queues were skipped: SQS_URL is not set")
		return
	}
	if slices.ContainsFunc(*f, func(found check.Finding) bool { return strings.HasPrefix(found.What, "SQS_URL ") }) {
		f.Add(check.Skipped, "queue", "queue", "", "the queues were skipped: fix SQS_URL first")
		return
	}
	client, err := parts.SQS(ctx)
	if err != nil {
		f.Failure("queue", "queue", err)
		return
	}
	q := check.Queues{Models: cfg.Models, RejectsSet: cfg.DeadLetterQueueURL != "", Backoff: cfg.Backoff}
	if q.Source, err = sqs.Open(ctx, client, cfg.QueueURL, "SQS_URL"); err != nil {
		f.Failure("queue", "queue", err)
		return
	}
	if dead := q.Source.Settings.DeadLetterARN; dead != "" {
		url, err := client.URLFromARN(ctx, dead)
		if err == nil {
			q.Policy, err = sqs.Open(ctx, client, url, "the redrive policy")
		}
		c.unopened(err, f)
	}
	if q.RejectsSet {
		q.Rejects, err = sqs.Open(ctx, client, cfg.DeadLetterQueueURL, "DEAD_LETTER_QUEUE_URL")
		c.unopened(err, f)
	}
	*f = append(*f, q.Check()...)
	functions, err := lambdas(ctx, q.Source.Settings.ARN)
	if err != nil {
		f.Add(check.Skipped, "function", "mapping", "allow the role of this command lambda:ListEventSourceMappings and lambda:GetFunctionConfiguration",
			"the functions that read the queue were skipped: %v", err)
		return
	}
	*f = append(*f, check.Functions(functions, q.Source.Settings.Visibility)...)
}

// unopened adds why a dead-letter queue could not be opened. A role that may not
// read its settings is not a fault of the queue.
func (c *checkCmd) unopened(err error, f *check.Findings) {
	if err == nil {
		return
	}
	var failure check.Findings
	failure.Failure("dead-letter queue", "dead_letter_queue", err)
	if e := fault.Of(err); e != nil && strings.HasPrefix(e.Code, "AccessDenied") {
		failure[0].Severity = check.Skipped
	}
	*f = append(*f, failure...)
}

// checked is what was found, for scripts.
type checked struct {
	Errors   int            `json:"errors"`
	Findings check.Findings `json:"findings"`
	Skipped  int            `json:"skipped"`
	Warnings int            `json:"warnings"`
}

// report prints the findings, and returns an error if one of them is.
func (c *checkCmd) report(con *console, f check.Findings) (failed error) {
	if f.Count(check.Error) > 0 {
		failed = errReported
	}
	if c.JSON {
		return con.printJSON(checked{f.Count(check.Error), f, f.Count(check.Skipped), f.Count(check.Warning)}, failed)
	}
	t := con.table("severity", "about", "finding")
	for i := range f {
		finding := f[i].What
		if f[i].Remedy != "" {
			finding += "\n" + arrow + f[i].Remedy
		}
		t.row(f[i].Severity, f[i].About, prose(finding))
	}
	t.print()
	fmt.Fprintf(con.stdout, "\nerrors: %d, warnings: %d, skipped: %d\n", f.Count(check.Error), f.Count(check.Warning), f.Count(check.Skipped))
	return failed
}
