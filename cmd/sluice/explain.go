package main

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/batch"
	"sluice/internal/check"
	"sluice/internal/config"
	"sluice/internal/message"
)

type explainCmd struct {
	File string `arg:"" optional:"" help:"File with one body; default, and -: standard input."`
	JSON bool   `help:"Print JSON instead of a table."`
}

// Help returns the details.
func (explainCmd) Help() string {
	return `The exit code is 1 when the body would be rejected. The message's own values (its id and when it was sent) are invented.
Nothing is stored, and no database is needed.

  echo '{"user_id":"u-1","ip":"203.0.113.7"}' | sluice explain`
}

// explanation is one column of the row.
type explanation struct {
	Column string `json:"column"`
	Type   string `json:"type"`
	Rule   string `json:"rule"`
	Value  string `json:"value"`
}

// Run implements the command.
func (c *explainCmd) Run(ctx context.Context, con *console) error {
	parts, err := con.load(config.Masks)
	if err != nil {
		return err
	}
	keys, err := parts.Keys(ctx)
	if err != nil {
		return err
	}
	m := parts.Config.Model
	body, err := con.read(ctx, c.File)
	if err != nil {
		return fmt.Errorf("read the body: %w", err)
	}
	msg := message.Message{ID: "00000000-0000-4000-8000-000000000000", Body: body, HasBody: true, SentMillis: time.Now().UnixMilli(), HasSent: true}
	rows := batch.New(m.Table)
	if v := m.Reader(keys).Append(rows, 0, 0, &msg); !v.IsZero() {
		bad := v.Rejection
		if c.JSON {
			return con.printJSON(map[string]string{"rejected": string(bad.Reason), "field": bad.Field, "because": bad.Reason.Explain()}, errReported)
		}
		return fmt.Errorf("the body would be rejected: %s: %s", bad, bad.Reason.Explain())
	}
	for _, f := range check.Model(m) {
		if f.Severity == check.Warning {
			fmt.Fprintf(con.stderr, "sluice: warning: %s; %s\n", f.What, f.Remedy)
		}
	}
	var all []explanation
	rows.Row(0, func(i int, v []byte) {
		col := m.Columns[i]
		all = append(all, explanation{col.Name, col.Type.String(), m.Rule(i), show(&rows.Columns()[i], v)})
	})
	if c.JSON {
		return con.printJSON(all, nil)
	}
	t := con.table("column", "type", "rule", "value")
	for _, e := range all {
		t.row(e.Column, e.Type, e.Rule, e.Value)
	}
	t.print()
	return nil
}
