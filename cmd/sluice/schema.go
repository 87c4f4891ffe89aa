package main

import (
	"fmt"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/check"
	"example.com/owner/sluice/internal/model"
)

type schemaCmd struct {
	JSONSchema bool `name:"json-schema" xor:"json" help:"Print a JSON Schema of model files instead, for editors."`
	JSON       bool `xor:"json" help:"Print the tables as JSON, each with its columns, its key and its SQL."`
}

// Help returns the details.
func (schemaCmd) Help() string {
	return `With --json-schema it needs no configuration. Write the schema beside your model file,

  sluice schema --json-schema > model.schema.json

and name it in the file's first line:

  # yaml-language-server: $schema=model.schema.json`
}

// Run implements the command.
func (c *schemaCmd) Run(con *console) error {
	if c.JSONSchema {
		fmt.Fprintf(con.stdout, "%s", model.JSONSchema())
		return nil
	}
	parts, err := con.load()
	if err != nil {
		return err
	}
	if c.JSON {
		all, set, granted := schemaTables{Tables: []schemaTable{}}, parts.Config.Models, grantsOf(parts.Config.Models)
		for i, m := range set.Models {
			if m.Ignore {
				continue
			}
			tables := tablesOf(m, parts.ModelDDL(i))
			if parts.AltDatabase() == nil {
				for k, g := range granted[i] {
					tables[k].Grants = g
				}
			}
			for k := range tables {
				if len(set.Models) > 1 {
					tables[k].Model = m.Name
				}
			}
			all.Tables = append(all.Tables, tables...)
		}
		return con.printJSON(all, nil)
	}
	fmt.Fprint(con.stdout, batch.Script(parts.DDL()))
	if parts.AltDatabase() == nil {
		var printed []string // models can share a ledger
		for _, grant := range slices.Concat(slices.Concat(grantsOf(parts.Config.Models)...)...) {
			if printed == nil {
				fmt.Fprint(con.stdout, "\n-- What the role that writes needs:\n")
			}
			if !slices.Contains(printed, grant) {
				fmt.Fprintf(con.stdout, "-- %s;\n", grant)
				printed = append(printed, grant)
			}
		}
	}
	return nil
}

// grantsOf returns the GRANTs of all models, if one of them reads or overwrites more of its table than the
// key, or has children: by model, and then by table, its own first.
func grantsOf(set *model.Set) [][][]string {
	all := make([][][]string, len(set.Models))
	if !slices.ContainsFunc(set.Tables(), func(t *batch.Table) bool {
		return t.OnConflict == batch.Replace || t.FindsConflicts() || t.Children != nil
	}) {
		return all
	}
	for i, m := range set.Models {
		switch t := m.Table; {
		case m.Ignore:
		case t.Ledger != "":
			all[i] = [][]string{grants(t, t.Name, check.Needs{}), grants(t, t.Ledger, check.NeedsOf(t))}
		default:
			all[i] = [][]string{grants(t, t.Name, check.NeedsOf(t))}
			for _, child := range t.Children {
				all[i] = append(all[i], grants(child, child.Name, check.NeedsOfChild(t, child)))
			}
		}
	}
	return all
}

// grants returns the GRANTs for INSERT and what else is needed on a table, or on its ledger.
func grants(t *batch.Table, name string, needs check.Needs) []string {
	on := " ON " + batch.QuoteTable(t.Schema, name) + " TO …"
	all := []string{"GRANT INSERT" + on}
	add := func(privilege string, indexes []int) {
		if len(indexes) == 0 {
			return
		}
		names := make([]string, len(indexes))
		for i, c := range indexes {
			names[i] = batch.Quote(t.Columns[c].Name)
		}
		all = append(all, "GRANT "+privilege+" ("+strings.Join(names, ", ")+")"+on)
	}
	add("SELECT", needs.Select)
	add("UPDATE", needs.Update)
	if needs.Delete {
		all = append(all, "GRANT DELETE"+on)
	}
	return all
}

// schemaTables are the tables of the models: of each the one that rows go to, and perhaps its ledger or
// its children.
type schemaTables struct {
	Tables []schemaTable `json:"tables"`
}

type schemaTable struct {
	Model   string         `json:"model,omitzero"` // if there are several
	Name    string         `json:"name"`
	Columns []schemaColumn `json:"columns"`
	Key     []string       `json:"key"` // empty for a table whose ledger has the key
	// SQL are the statements that create it.
	SQL []string `json:"sql"`
	// Parent is the table whose rows those of this one belong to.
	Parent string `json:"parent,omitzero"`
	// Grants are those of the role that writes, if it needs more than INSERT and the key on some table, or
	// a model has children.
	Grants []string `json:"grants,omitzero"`
}

type schemaColumn struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	NotNull bool   `json:"not_null"`
	Rule    string `json:"rule"`
}

func tablesOf(m *model.Model, statements []string) (tables []schemaTable) {
	for _, part := range m.Tables() {
		t := part.Table
		for _, name := range []string{t.Name, t.Ledger} {
			if name == "" {
				continue
			}
			ledger := name == t.Ledger
			table := schemaTable{Name: qualified(t, name)}
			if part != m {
				table.Parent = qualified(m.Table, m.Table.Name)
			}
			if ledger || t.Ledger == "" {
				for _, c := range t.KeyColumns() {
					table.Key = append(table.Key, c.Name)
				}
			}
			for i, c := range t.Columns {
				if c.Ledger == ledger {
					table.Columns = append(table.Columns, schemaColumn{c.Name, part.Columns[i].Type.String(), c.NotNull, part.Rule(i)})
				}
			}
			for i, s := range statements {
				if i > 0 && !batch.OfNewTable(s) { // the next table's
					break
				}
				table.SQL = append(table.SQL, s)
			}
			statements = statements[len(table.SQL):]
			tables = append(tables, table)
		}
	}
	return tables
}

// qualified returns the name of a table with its schema.
func qualified(t *batch.Table, name string) string {
	if t.Schema != "" {
		return t.Schema + "." + name
	}
	return name
}
