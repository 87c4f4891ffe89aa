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
	for f := range reflect.TypeFor[cli]().Fields() {
		if _, ok := f.Tag.Lookup("cmd"); ok {
			names = append(names, strings.ToLower(f.Name))
		}
	}
	return names
}
