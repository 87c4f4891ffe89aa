package main

import (
	"fmt"
	"slices"
	"strings"

	"example.com/owner/sluice/internal/batch"
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
		all, set, grants := schemaTables{Tables: []schemaTable{}}, parts.Config.Models, grantsOf(parts.Config.Models)
		for i, m := range set.Models {
			if set.TableOf(i) < 0 {
				continue
			}
			tables := tablesOf(m, parts.ModelDDL(i))
			if parts.AltDatabase() == nil {
				tables[0].Grants = grants[i]
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
		for i, t := range slices.Concat(grantsOf(parts.Config.Models)...) {
			if i == 0 {
				fmt.Fprint(con.stdout, "\n-- The role that writes needs more than INSERT and the key:\n")
			}
			fmt.Fprintf(con.stdout, "-- %s;\n", t)
		}
	}
	return nil
}

// grantsOf returns the GRANTs of each model that reads or overwrites more of its table than the key.
func grantsOf(set *model.Set) [][]string {
	all := make([][]string, len(set.Models))
	for i, m := range set.Models {
		t := m.Table
		if m.Ignore || t.OnConflict != batch.Replace && !t.FindsConflicts() {
			continue
		}
		columns := func(indexes []int) string {
			names := make([]string, len(indexes))
			for i, c := range indexes {
				names[i] = batch.Quote(t.Columns[c].Name)
			}
			return strings.Join(names, ", ")
		}
		on := " ON " + batch.QuoteTable(t.Schema, t.Name) + " TO …"
		all[i] = []string{"GRANT INSERT" + on, "GRANT SELECT (" + columns(t.Reads()) + ")" + on}
		if updates := t.Updates(); updates != nil {
			all[i] = append(all[i], "GRANT UPDATE ("+columns(updates)+")"+on)
		}
	}
	return all
}

// schemaTables are the tables of the models: of each the one that rows go to, and perhaps its ledger.
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
	// Grants are those of the role that writes, if it needs more than INSERT and the key.
	Grants []string `json:"grants,omitzero"`
}

type schemaColumn struct {
	Name    string `json:"name"`
	Type    string `json:"type"`
	NotNull bool   `json:"not_null"`
	Rule    string `json:"rule"`
}

func tablesOf(m *model.Model, statements []string) (tables []schemaTable) {
	t := m.Table
	for _, name := range []string{t.Name, t.Ledger} {
		if name == "" {
			continue
		}
		ledger := name == t.Ledger
		table := schemaTable{Name: name}
		if t.Schema != "" {
			table.Name = t.Schema + "." + name
		}
		if ledger || t.Ledger == "" {
			for _, c := range t.KeyColumns() {
				table.Key = append(table.Key, c.Name)
			}
		}
		for i, c := range t.Columns {
			if c.Ledger == ledger {
				table.Columns = append(table.Columns, schemaColumn{c.Name, m.Columns[i].Type.String(), c.NotNull, m.Rule(i)})
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
	return tables
}
