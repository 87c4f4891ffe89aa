package main

import (
	"fmt"
	"strings"
)

type schemaCmd struct{}

// Run implements the command.
func (schemaCmd) Run(con *console) error {
	parts, err := con.load()
	if err != nil {
		return err
	}
	fmt.Fprintf(con.stdout, "%s;\n", strings.Join(parts.DDL(), ";\n\n"))
	return nil
}
