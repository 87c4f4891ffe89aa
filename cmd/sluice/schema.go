package main

import (
	"fmt"

	"sluice/internal/batch"
)

type schemaCmd struct{}

// Run implements the command.
func (schemaCmd) Run(con *console) error {
	parts, err := con.load()
	if err != nil {
		return err
	}
	fmt.Fprint(con.stdout, batch.Script(parts.DDL()))
	return nil
}
