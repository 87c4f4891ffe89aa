package main

import (
	"reflect"
	"strings"
)

// Main and Run are the program, and what it does with everything from the
// outside as a parameter.
var (
	Main = main
	Run  = run
)

// Commands lists the names of all commands.
func Commands() (names []string) {
	t := reflect.TypeFor[cli]()
	for i := range t.NumField() {
		if _, ok := t.Field(i).Tag.Lookup("cmd"); ok {
			names = append(names, strings.ToLower(t.Field(i).Name))
		}
	}
	return names
}
