package main

import (
	"fmt"

	"example.com/owner/sluice/internal/batch"
	"example.com/owner/sluice/internal/model"
)

type schemaCmd struct {
	JSONSchema bool `name:"json-schema" help:"Print a JSON Schema of model files instead, for editors."`
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
	fmt.Fprint(con.stdout, batch.Script(parts.DDL()))
	return nil
}
