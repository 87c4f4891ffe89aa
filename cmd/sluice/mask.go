package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/model"
)

type maskCmd struct {
	Field string `arg:"" help:"Name of a personal field of the model, as in ip."`
	JSON  bool   `help:"Print JSON."`
}

// masksOf are the masks of a value.
type masksOf struct {
	Field string    `json:"field"`
	Masks []maskRow `json:"masks"`
}

type maskRow struct {
	Key  string `json:"key"` // its id
	Mask string `json:"mask"`
	// As says which form of the value was masked, "" for the one that the model makes of it.
	As string `json:"as,omitzero"`
}

// Help returns the details.
func (maskCmd) Help() string {
	return `Prints one line per key: its id, a tab, the mask. The value comes from standard input, so that it stays out of the
shell's history and the list of processes.

  printf 203.0.113.7 | sluice mask ip

The mask is of the form that the field's options make of the value: trim, case, strip, unicode and idna. Rows from before
the model had these options may have the mask of another form. So where it differs, there are more lines, with a second tab
and what was masked: the value "as typed", and for idna with its "domain in Unicode". Look for all of them.`
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
	typed := bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	switch {
	case !utf8.Valid(typed) || bytes.ContainsRune(typed, 0):
		return errors.New("the value on standard input is not UTF-8, or has a NUL character; no message with it is stored")
	case bytes.ContainsRune(typed, '\n'):
		fmt.Fprintln(con.stderr, "sluice: standard input has several lines; they are taken as one value, so give one line")
	}
	if mask.PersonalText(f.Normal(typed)).Blank() {
		return fmt.Errorf("standard input is empty; give the value there, as in: printf %%s VALUE | sluice mask %s", c.Field)
	}
	found := masksOf{Field: f.Name}
	for i, m := range keys.Maskers(f.Domain) {
		all, err := f.LookUp(m, typed)
		if err != nil {
			return fmt.Errorf("the value on standard input is %w", err)
		}
		for _, one := range all {
			found.Masks = append(found.Masks, maskRow{keys.IDs()[i], string(one.Mask), one.As})
		}
	}
	if c.JSON {
		return con.printJSON(found, nil)
	}
	for _, m := range found.Masks {
		line := m.Key + "\t" + m.Mask
		if m.As != "" {
			line += "\t" + m.As
		}
		fmt.Fprintln(con.stdout, line)
	}
	return nil
}
