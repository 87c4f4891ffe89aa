package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"example.com/owner/sluice/internal/app"
	"example.com/owner/sluice/internal/config"
	"example.com/owner/sluice/internal/mask"
	"example.com/owner/sluice/internal/model"
)

type maskCmd struct {
	Field string `arg:"" help:"Name of a personal field of the model, as in ip; of several models also with the model's, as in user_logins.ip."`
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
	fields, err := c.fields(parts.Config.Models)
	if err != nil {
		return err
	}
	return c.print(ctx, con, parts, fields)
}

// fields returns the personal fields that the argument names: one, or those of several models whose
// masks are of one domain, and so the same.
func (c *maskCmd) fields(set *model.Set) (fields []model.Field, err error) {
	who := "model " + strings.Join(modelNames(set), ", ")
	if len(set.Models) > 1 {
		who = "models " + strings.Join(modelNames(set), ", ")
	}
	var names, domains, named []string
	for _, m := range set.Models {
		for _, f := range m.Personal() {
			whole := m.Name + "." + f.Name
			if !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
			if c.Field != f.Name && c.Field != whole {
				continue
			}
			fields, named = append(fields, f), append(named, whole)
			if !slices.Contains(domains, f.Domain) {
				domains = append(domains, f.Domain)
			}
		}
	}
	switch {
	case names == nil && len(set.Models) == 1:
		return nil, fmt.Errorf("the %s has no personal field: it masks nothing", who)
	case names == nil:
		return nil, fmt.Errorf("the %s have no personal field: they mask nothing", who)
	case fields == nil: // without the argument: it may be personal
		return nil, fmt.Errorf("the argument is not a personal field of the %s; there are %s. The value goes to standard input", who, strings.Join(names, ", "))
	case len(domains) > 1:
		return nil, fmt.Errorf("several models mask such a field, each in its own way; name one: %s", strings.Join(named, ", "))
	}
	return fields, nil
}

// print prints the masks of the value on standard input.
func (c *maskCmd) print(ctx context.Context, con *console, parts *app.App, fields []model.Field) error {
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
	if mask.PersonalText(fields[0].Normal(typed)).Blank() {
		return fmt.Errorf("standard input is empty; give the value there, as in: printf %%s VALUE | sluice mask %s", c.Field)
	}
	found := masksOf{Field: fields[0].Name}
	for i, m := range keys.Maskers(fields[0].Domain) {
		for _, f := range fields {
			all, err := f.LookUp(m, typed)
			if err != nil {
				return fmt.Errorf("the value on standard input is %w", err)
			}
			for _, one := range all {
				row := maskRow{keys.IDs()[i], string(one.Mask), one.As}
				if !slices.ContainsFunc(found.Masks, func(r maskRow) bool { return r.Key == row.Key && r.Mask == row.Mask }) {
					found.Masks = append(found.Masks, row)
				}
			}
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
