package postgres

import (
	_ "embed" // for the query
	"encoding/json"
	"fmt"

	"sluice/internal/fault"
	"sluice/internal/message"
)

// A column with AsText has any type of the database, whose input function reads each value. Some
// types do that in a way that a message would not expect, and nothing would say so. A model names
// none of those, but a domain, a range or a composite type can be made of one. So the server is
// asked before a connection's first batch.

//go:embed types.sql
var typesSQL string

// askTypes adds the question which of the types that read text cannot be used.
func (rt *roundTrip) askTypes(wrong *answer) {
	rt.add(uncompiled)
	rt.p.SendQueryParams(typesSQL, [][]byte{textArray(rt.in.store.typesAsText())}, nil, nil, binary)
	rt.ask(func(a *answer) { *wrong = *a })
}

// typesAsText returns the types that read text, in SQL.
func (s *Store) typesAsText() (names []string) {
	for _, c := range s.table.Columns {
		if c.AsText {
			names = append(names, c.Type)
		}
	}
	return names
}

// lacksType is what to do about a type that is missing.
const lacksType = "create it, or correct it in the model; without a schema it is looked up in the role's search_path"

// unusable returns an error if the answer to askTypes names a type.
func (s *Store) unusable(text []byte) error {
	var wrong []struct{ Name, Of string }
	_ = json.Unmarshal(text, &wrong) // without an answer, the insert fails for the same reason
	if len(wrong) == 0 {
		return nil
	}
	e := fault.Error{Cause: message.CauseConfiguration, Code: "42804"}
	switch first := wrong[0]; first.Of {
	case "":
		e.Code = "42704"
		e.What = fmt.Sprintf("%s: the type %s does not exist", s.inserting, first.Name)
		e.Remedy = lacksType
	default:
		e.What = fmt.Sprintf("%s: the type %s is made of %s, which Postgres does not read as it is written", s.inserting, first.Name, first.Of)
		e.Remedy = fmt.Sprintf("it would round or cut values, or take words such as now for a time; if the type is a domain, write type: %s, without as: text", first.Of)
	}
	return databaseError(e)
}
