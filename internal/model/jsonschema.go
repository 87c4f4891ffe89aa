package model

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"example.com/owner/sluice/internal/mask"
)

// schema is a JSON Schema, or a part of one.
type schema = map[string]any

// JSONSchema returns a JSON Schema (draft 2020-12) of model files, for editors. It is made of the
// tables that the loader uses. It accepts what the loader accepts, but cannot refuse all that the
// loader refuses: names that refer to each other, the grammar of paths and regular expressions,
// defaults that no row can hold, and how YAML wrote a value.
func JSONSchema() []byte {
	c := &compiler{}
	field := mapping(c.fieldSettings(&fieldSpec{}), fieldSchemas(), "type")
	field["allOf"] = fieldRules()
	column := mapping(c.columnSettings(&columnSpec{}), columnSchemas(), "type")
	column["allOf"] = columnRules()
	column["anyOf"] = []schema{required("from"), required("meta"), required("value")}

	own := fileSchemas()
	definitions := schema{}
	definitions["fields"] = schema{
		"description": "What is read of a message, by name.", "type": "object", "minProperties": 1, "additionalProperties": field,
		"propertyNames": schema{"pattern": `^[^"\\\x00-\x1f` + "\ufffd]+$"},
	}
	definitions["columns"] = schema{
		"description": "Where it goes, in the order of the table.", "type": "object", "minProperties": 1, "maxProperties": maxColumns, "additionalProperties": column,
		"propertyNames": schema{"pattern": exactly(identifierPattern)},
	}
	own["fields"], own["columns"] = schema{"$ref": "#/$defs/fields"}, schema{"$ref": "#/$defs/columns"}
	child := mapping(c.childSettings(&childSpec{}), own, "rows", "fields", "columns")
	child["allOf"] = []schema{pathlikeNames()}
	own["also"] = schema{
		"description": "Tables whose rows belong to the row of this one, by name.", "type": "object", "minProperties": 1, "maxProperties": maxChildren, "additionalProperties": child,
		"propertyNames": schema{"pattern": exactly(tablePattern)},
	}
	condition := mapping(c.whenSettings(&whenSpec{}), whenSchemas(), "one_of")
	condition["description"] = "Which messages the model takes; all if not given."
	condition["anyOf"] = []schema{required("path"), required("attribute")}
	condition["allOf"] = []schema{excludes("attribute", "path", "layer")}
	own["when"] = condition
	root := mapping(c.fileSettings(&file{}), own, "model")
	root["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	root["title"] = "A model of sluice"
	stored := required("table", "fields", "columns")
	stored["anyOf"] = []schema{required("key"), required("ledger"), required("rows")}
	root["$defs"] = definitions
	root["allOf"] = []schema{
		{"if": is("ignore", true), "then": schema{"required": []string{"when"}, "propertyNames": schema{"enum": ofIgnored}}, "else": stored},
		excludes("ledger", "key", "also"),
		excludes("also", "rows"),
		when(schema{"not": required("rows")}, schema{"properties": schema{"columns": schema{"additionalProperties": schema{"properties": schema{"meta": schema{"not": schema{"const": MetaRowNumber}}}}}}}),
		when(required("ledger"), schema{"properties": schema{"on_conflict": schema{"const": "keep"}}}),
		when(required("newer_by"), is("on_conflict", "replace")),
		when(required("max_unwrapped_bytes"), schema{"required": []string{"unwrap"}}),
		when(required("foreign_key_receives"), schema{"required": []string{"foreign_key"}, "properties": schema{"foreign_key": schema{"const": "return"}}}),
		pathlikeNames(),
	}
	text, _ := json.Marshal(root, json.Deterministic(true), jsontext.WithIndent("  ")) // it has maps, lists and texts only
	return append(text, '\n')
}

// pathlikeNames is a schema of tables whose fields have a path if their name looks like one.
func pathlikeNames() schema {
	return schema{"properties": schema{"fields": schema{"patternProperties": schema{`[./$\[]`: schema{"anyOf": []schema{required("path"), required("attribute")}}}}}}
}

// mapping returns the schema of a mapping that has settings of the loader, and no others.
func mapping(settings []setting, schemas schema, needs ...string) schema {
	properties := schema{}
	for _, s := range settings {
		properties[s.name] = schemas[s.name]
	}
	return schema{"type": "object", "properties": properties, "required": needs, "additionalProperties": false}
}

// required returns a schema of objects that have members.
func required(names ...string) schema { return schema{"required": names} }

// is returns a schema of objects that have a member with the value.
func is(name string, value any) schema {
	return schema{"properties": schema{name: schema{"const": value}}, "required": []string{name}}
}

// when returns a schema that applies one schema where another one holds.
func when(condition, then schema) schema { return schema{"if": condition, "then": then} }

// excludes returns a schema of objects that have none of the others if they have the first. Unlike
// oneOf, an editor can say which one is not allowed.
func excludes(first string, others ...string) schema {
	not := schema{}
	for _, name := range others {
		not[name] = false
	}
	return when(required(first), schema{"properties": not})
}

func exactly(pattern string) string { return "^(?:" + pattern + ")$" }

// text returns the schema of a text that matches a pattern, "" for any text.
func text(description, pattern string) schema {
	s := schema{"description": description, "type": "string"}
	if pattern != "" {
		s["pattern"] = exactly(pattern)
	}
	return s
}

func boolean(description string) schema { return schema{"description": description, "type": "boolean"} }

func choice(description string, values ...string) schema {
	return schema{"description": description, "enum": values}
}

func integer(description string, least, most int) schema {
	s := schema{"description": description, "type": "integer", "minimum": least}
	if most > 0 {
		s["maximum"] = most
	}
	return s
}

// list returns the schema of a list of at least one item, with all of them different.
func list(description string, items any) schema {
	return schema{"description": description, "type": "array", "items": items, "minItems": 1, "uniqueItems": true}
}

const (
	identifierPattern = "[A-Za-z_][A-Za-z0-9_]{0,62}"
	domainPattern     = "[A-Za-z0-9_.-]{1,128}"
	attributePattern  = "[A-Za-z0-9_.-]{1,256}"
	pathPattern       = `\$([.\[].*)?`
	rowsPattern       = `\$([.\[].*)?\[\*\]`
	tablePattern      = `(` + identifierPattern + `\.)?` + identifierPattern
)

func fileSchemas() schema {
	return schema{
		"model":                text("The model's name.", identifierPattern),
		"ignore":               boolean("What the model takes is discarded."),
		"table":                text("The table, with its schema if it has one.", tablePattern),
		"domain":               text("What the masks are derived for; the model's name if not given.", domainPattern),
		"rows":                 text("The array whose elements are the rows, as in $.items[*].", rowsPattern),
		"key":                  list("The columns of the primary key, the same on every delivery of a message.", text("", identifierPattern)),
		"ledger":               text("Instead of a key: the table that says which messages are stored.", identifierPattern),
		"on_conflict":          choice("What becomes of a row whose key is stored.", conflicts...),
		"newer_by":             text("With on_conflict: replace, the column that says which of two rows is newer.", identifierPattern),
		"index":                schema{"description": "Further indexes of the table.", "type": "array", "minItems": 1, "items": maxItems(list("", text("", identifierPattern)), 32)},
		"unwrap":               schema{"description": "The steps that make JSON of a body, or of a text in it.", "type": "array", "minItems": 1, "items": unwrapStep()},
		"max_unwrapped_bytes":  integer("How much a step of unwrap may make of a body.", 1, maxUnwrapped),
		"unknown":              choice("What becomes of a body with members that the model does not read.", "ignore", "reject"),
		"allow_empty":          boolean("Stores a body in which nothing of the model is found."),
		"foreign_key":          choice("What becomes of a row whose parent row is missing.", "reject", "return"),
		"foreign_key_receives": integer("How often a message is received before it is rejected.", 2, 1000),
	}
}

func whenSchemas() schema {
	return schema{
		"path":      text("Where the value is in the body, as in $.type.", pathPattern),
		"layer":     integer("The JSON document that the path is in; 0, the body as it was sent, if not given.", 0, 0),
		"attribute": text("The message attribute that has the value.", attributePattern),
		"one_of":    maxItems(list("The values that the model takes.", schema{"type": []string{"string", "number", "boolean"}}), maxChoices),
	}
}

// unwrapStep is the schema of a step of unwrap.
func unwrapStep() schema {
	json := schema{
		"type": "object", "required": []string{"json"}, "additionalProperties": false,
		"properties": schema{"json": text("The path of a text that holds JSON.", pathPattern)},
	}
	return schema{"anyOf": []any{schema{"enum": codecNames()}, json}}
}

func maxItems(s schema, n int) schema {
	s["maxItems"] = n
	return s
}

func codecNames() (all []string) {
	for _, c := range codecs {
		all = append(all, c.name)
	}
	return all
}

// constant is the schema of a value as a body would have it.
func constant(description string) schema {
	return schema{"description": description, "type": []string{"string", "number", "boolean"}}
}

func fieldSchemas() schema {
	return schema{
		"type":       choice("How the field is read.", asTexts(FieldTypes())...),
		"required":   boolean("Absent, null and blank reject the message."),
		"personal":   boolean("The field is masked. false, for an ip or email, stores it in clear."),
		"domain":     text("What the mask of this field is derived for.", domainPattern),
		"path":       schema{"description": "Where the field is in the body, as in $.customer.city; of a list, the first that is there and not null.", "anyOf": []any{text("", pathPattern), maxItems(schema{"type": "array", "minItems": 1, "items": text("", pathPattern)}, maxCandidates)}},
		"layer":      integer("The JSON document that the path is in: 0 is the body as it was sent.", 0, 0),
		"attribute":  text("The message attribute that the field is read from.", attributePattern),
		"default":    constant("The value of a field that is absent or null."),
		"list":       boolean("The field is a list of values of the type."),
		"accept":     list("Other types of JSON that are taken.", schema{"enum": []string{"string", "number"}}),
		"format":     schema{"description": "Another spelling.", "type": "string"},
		"zone":       text("The time zone of times without one, as in Europe/Berlin.", "[A-Z].*"),
		"trim":       boolean("Removes white space around the text."),
		"case":       choice("Changes letters.", "lower", "upper"),
		"strip":      schema{"description": "Removes these characters.", "type": "string", "minLength": 1, "maxLength": maxStrip},
		"unicode":    choice("Writes characters in one form.", "nfc", "nfkc"),
		"idna":       boolean("Writes an address's domain in ASCII."),
		"one_of":     maxItems(list("The values that are allowed.", schema{"type": []string{"string", "number"}}), maxChoices),
		"pattern":    schema{"description": "A regular expression (RE2) that the whole value matches.", "type": "string", "minLength": 1, "maxLength": maxPattern},
		"min":        schema{"description": "The smallest value.", "type": []string{"number", "string"}},
		"max":        schema{"description": "The largest value.", "type": []string{"number", "string"}},
		"min_length": integer("The smallest number of characters.", 1, maxCharacters),
		"max_length": integer("The largest number of characters.", 1, maxCharacters),
	}
}

func asTexts[T ~string](all []T) (texts []string) {
	for _, one := range all {
		texts = append(texts, string(one))
	}
	return texts
}

// fieldRules are what depends on a field's type, and settings that exclude each other.
func fieldRules() (rules []schema) {
	var personal, lists []string
	for _, t := range fieldTypes {
		own := schema{}
		if len(t.formats) > 0 {
			own["format"] = schema{"enum": t.formats}
		}
		if len(t.accepts) > 0 {
			own["accept"] = schema{"items": schema{"enum": t.accepts}}
		}
		if slices.Contains(t.options, "one_of") {
			own["one_of"] = schema{"items": schema{"type": kinds(t.reads)}}
		}
		if t.mask != nil {
			personal = append(personal, string(t.name))
		}
		if t.inLists() {
			lists = append(lists, string(t.name))
		}
		if slices.Contains(t.options, "min") {
			limit := schema{"type": "number"}
			if t.bound != nil {
				limit = schema{"type": "string", "pattern": exactly(boundPatterns[t.name])}
			}
			own["min"], own["max"] = limit, limit
		}
		then := schema{"propertyNames": schema{"enum": slices.Concat(everyType, t.options)}, "properties": own}
		if t.personal {
			then["required"] = []string{"personal"}
		}
		rules = append(rules, when(is("type", t.name), then))
		if t.reads == anyForm {
			own["attribute"] = false
		} else {
			rules = append(rules, defaultRules(t)...)
		}
		if t.reads == numberForm || t.reads == booleanForm {
			rules = append(rules, when(all(is("type", t.name), normalizes()), accepts("string")))
		}
	}
	unix := schema{"pattern": "^unix"}
	return append(rules,
		when(required("attribute"), schema{"properties": schema{"path": false, "layer": false, "list": schema{"const": false}}}),
		when(all(is("type", TypeBoolean), required("attribute")), accepts("string")),
		when(required("domain"), is("personal", true)),
		when(is("personal", true), schema{"properties": schema{"type": schema{"enum": personal}, "default": false}}),
		when(is("list", true), schema{"properties": schema{"type": schema{"enum": lists}, "personal": schema{"const": false}, "default": false}}),
		when(required("zone"), is("format", formatISO8601)),
		when(all(is("type", TypeTimestamp), required("accept")), schema{"required": []string{"format"}, "properties": schema{"format": unix}}),
		when(all(is("type", TypeTimestamp), schema{"required": []string{"format"}, "properties": schema{"format": unix}}, normalizes()), accepts("string")),
	)
}

// boundPatterns are the forms of min and max of the types that do not compare numbers.
var boundPatterns = map[FieldType]string{
	TypeTimestamp: `[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})`,
	TypeDate:      `[0-9]{4}-[0-9]{2}-[0-9]{2}`,
	TypeTime:      `[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?`,
}

// kinds returns the types of JSON, as a schema names them, of what a type of fields reads.
func kinds(f form) []string {
	switch f {
	case stringForm:
		return []string{"string"}
	case numberForm:
		return []string{"number"}
	case booleanForm:
		return []string{"boolean"}
	default:
		return []string{"string", "number", "boolean"}
	}
}

// defaultRules say that a default has a type of JSON that a body's value could have.
func defaultRules(t fieldType) (rules []schema) {
	own := kinds(t.reads)
	if t.name == TypeTimestamp { // its format decides
		own = append(own, "number")
	}
	rules = append(rules, when(is("type", t.name), schema{"properties": schema{"default": schema{"type": slices.Compact(slices.Sorted(slices.Values(slices.Concat(own, t.accepts))))}}}))
	for _, kind := range t.accepts {
		if !slices.Contains(own, kind) {
			accepted := schema{"required": []string{"default"}, "properties": schema{"default": schema{"type": kind}}}
			rules = append(rules, when(all(is("type", t.name), accepted), accepts(kind)))
		}
	}
	return rules
}

// accepts returns a schema of fields that accept another type of JSON.
func accepts(kind string) schema {
	return schema{"required": []string{"accept"}, "properties": schema{"accept": schema{"contains": schema{"const": kind}}}}
}

// normalizes is a schema of fields that normalise a text.
func normalizes() schema {
	return schema{"anyOf": []schema{is("trim", true), required("case"), required("strip"), required("unicode")}}
}

func all(schemas ...schema) schema { return schema{"allOf": schemas} }

// inLists reports whether a list of the type has a column.
func (t fieldType) inLists() bool {
	return slices.ContainsFunc(t.columns, func(base string) bool {
		_, not := SQLType{Base: base}.find()
		return not&notInList == 0
	})
}

func columnSchemas() schema {
	return schema{
		"type":   text("The column's type in SQL.", ""),
		"as":     choice("The type's own input function reads the value.", "text"),
		"from":   text("The field that the column holds.", ""),
		"part":   choice("The leading number of a version.", "major"),
		"meta":   choice("What sluice knows of the message.", asTexts(metas())...),
		"value":  constant("A constant."),
		"masked": boolean("The column holds the field's mask."),
	}
}

// columnRules are what depends on what a column holds.
func columnRules() []schema {
	typed := func(patterns ...string) schema {
		return schema{"properties": schema{"type": schema{"pattern": exactly(strings.Join(patterns, "|"))}}}
	}
	var every, masks []string
	for _, known := range columnTypes {
		pattern := formPattern(known.form)
		if known.not&notInList == 0 {
			pattern += `(\[\])?`
		}
		every = append(every, pattern)
	}
	for _, base := range texts {
		if base == "varchar" || base == "char" {
			base += `\(` + atLeast(mask.Size) + `\)`
		}
		masks = append(masks, base)
	}
	rules := []schema{
		excludes("from", "meta", "value"),
		excludes("meta", "value"),
		{"if": required("as"), "then": asTextType(), "else": typed(every...)},
		when(schema{"anyOf": []schema{required("meta"), required("value")}}, schema{"properties": schema{"masked": schema{"const": false}, "part": false}}),
		when(is("masked", true), typed(masks...)),
		when(required("part"), typed(integers...)),
		when(required("value"), schema{"properties": schema{"type": schema{"not": schema{"pattern": `\]$`}}}}),
		when(all(required("as"), required("value")), schema{"properties": schema{"value": schema{"type": "string"}}}),
	}
	for _, known := range metadata {
		var types []string
		for _, base := range known.columns {
			if base == "varchar" || base == "char" {
				types = append(types, base+`\(`+atLeast(known.length)+`\)`)
			} else {
				types = append(types, formPattern(base))
			}
		}
		rules = append(rules, when(is("meta", known.name), typed(types...)))
	}
	// A constant is read as the first type of fields that the column can hold.
	seen := map[string]bool{}
	for _, t := range fieldTypes {
		var own []string
		for _, base := range t.columns {
			if !seen[base] {
				own = append(own, formPattern(base))
				seen[base] = true
			}
		}
		if len(own) > 0 && t.reads != anyForm {
			condition := schema{"required": []string{"value"}, "properties": schema{"type": schema{"pattern": exactly(strings.Join(own, "|"))}}}
			rules = append(rules, when(condition, schema{"properties": schema{"value": schema{"type": kinds(t.reads)}}}))
		}
	}
	return rules
}

// asTextType is the schema of a column whose type's own input function reads the value: the name of a
// type that sluice does not write itself.
func asTextType() schema {
	var refused []string
	for _, known := range columnTypes {
		if base, _, _ := strings.Cut(known.form, "("); !slices.Contains(writtenBothWays, base) {
			refused = append(refused, base)
		}
	}
	refused = append(refused, slices.Sorted(maps.Keys(aliases))...)
	for _, known := range notAsText {
		refused = append(refused, strings.Fields(known.names)...)
	}
	name := schema{"pattern": typeName().String(), "not": schema{"pattern": `^("?pg_catalog"?\.)?"?(` + strings.Join(refused, "|") + `)"?$`}}
	return schema{"properties": schema{"type": name}}
}

// formPattern returns a pattern of a type as columnTypes writes it, or by its name alone.
func formPattern(form string) string {
	base, _, _ := strings.Cut(form, "(")
	switch base {
	case "varchar", "char":
		return base + `\([0-9]{1,8}\)`
	case "numeric":
		return base + `(\([0-9]{1,8}(, *[0-9]{1,8})?\))?`
	default:
		return regexp.QuoteMeta(base)
	}
}

// atLeast returns a pattern of the numbers that are not less than n.
func atLeast(n int) string {
	digits := strconv.Itoa(n)
	ways := []string{digits, fmt.Sprintf("[1-9][0-9]{%d,}", len(digits))}
	for i, d := range []byte(digits) {
		if d < '9' {
			ways = append(ways, fmt.Sprintf("%s[%c-9][0-9]{%d}", digits[:i], d+1, len(digits)-i-1))
		}
	}
	return "(" + strings.Join(ways, "|") + ")"
}
