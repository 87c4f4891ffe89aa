package main

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/mask"
	"sluice/internal/model"
)

type maskCmd struct {
	Field string `arg:"" help:"Name of a personal field of the model, as in ip."`
}

// Help returns the details.
func (maskCmd) Help() string {
	return `Prints one line per key: its id, a tab, the mask. The value comes from standard input, so that it stays out of the
shell's history and the list of processes.

  printf 203.0.113.7 | sluice mask ip`
}

// Run implements the command.
func (c *maskCmd) Run(ctx context.Context, con *console) error {
	parts, err := con.load(config.Masks)
	if err != nil {
		return err
	}
	m := parts.Config.Model
	var names []string
	for _, f := range m.Personal() {
		if f.Name == c.Field {
			return c.print(ctx, con, parts, f)
		}
		names = append(names, f.Name)
	}
	if names == nil {
		return fmt.Errorf("the model %s has no personal field: it masks nothing", m.Name)
	}
	// Without the argument: it may be personal.
	return fmt.Errorf("the argument is not a personal field of the model %s; there are %s. The value goes to standard input", m.Name, strings.Join(names, ", "))
}

// print prints the masks of the value on standard input.
func (c *maskCmd) print(ctx context.Context, con *console, parts *app.App, f model.Field) error {
	text, err := con.read(ctx, "-")
	if err != nil {
		return fmt.Errorf("read standard input: %w", err)
	}
	keys, err := parts.Keys(ctx)
	if err != nil {
		return err
	}
	value := mask.PersonalText(bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r")))
	if value.Blank() {
		return fmt.Errorf("standard input is empty; give the value there, as in: printf %%s VALUE | sluice mask %s", c.Field)
	}
	for i, m := range keys.Maskers(f.Domain) {
		masked, err := f.Mask(m, nil, value)
		if err != nil {
			return fmt.Errorf("the value on standard input is %w", err)
		}
		fmt.Fprintf(con.stdout, "%s\t%s\n", keys.IDs()[i], masked)
	}
	return nil
}
