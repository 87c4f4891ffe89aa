package infer

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
)

// idKind is what an id tells apart.
type idKind int

const (
	ofEvent   idKind = iota // event_id: messages
	ofMessage               // message_id: messages, or those that people send
	plainID                 // id: messages, or what they are about
	ofThing                 // order_id: what they are about
	ofOwner                 // user_id: what many of them are about
)

// owners are words of ids of what a message is about, which repeat from message to message: with a key
// of one of them, all messages but the first would be taken for duplicates.
var owners = strings.Fields("user customer client account device session tenant org organization organisation company team product item sku store shop category campaign parent group owner author actor visitor anonymous " +
	"member employee merchant vendor seller buyer trace span correlation installation project workspace app page channel location sensor vehicle profile contact subscription plan source subject host thing station room")

// The words that ids end with, those of ids of a message itself, and those of objects with what is
// said about it.
var (
	idWords   = strings.Fields("id uuid guid number key ref reference")
	itself    = strings.Fields("event notification idempotency dedup deduplication")
	metaWords = strings.Fields("event meta metadata header headers envelope")
)

// kindOfID returns what the id at a path tells apart.
func kindOfID(path []step) idKind {
	own, last := words(path[len(path)-1]), ""
	if n := len(own) - 1; n >= 0 && slices.Contains(idWords, own[n]) {
		own, last = own[:n], own[n]
	}
	if len(own) == 0 && len(path) > 1 { // customer: {id}
		own = words(path[len(path)-2])
	}
	of := ""
	if len(own) > 0 {
		of = own[len(own)-1]
	}
	switch {
	case slices.Contains(itself, of):
		return ofEvent
	case of == "message" || of == "msg" || len(path) > 1 && slices.Contains(metaWords, of):
		return ofMessage
	case of == "" && (last == "id" || last == "uuid" || last == "guid"):
		return plainID
	case slices.Contains(owners, of):
		return ofOwner
	default:
		return ofThing
	}
}

// inMeta reports whether a path is of a member of the message's metadata.
func inMeta(path []step) bool {
	return len(path) == 2 && slices.Contains(metaWords, strings.Join(words(path[0]), "_"))
}

// hasIDWord reports whether a name ends as ids do.
func hasIDWord(name step) bool {
	own := words(name)
	return len(own) > 0 && slices.Contains(idWords, own[len(own)-1])
}

// tells is what members say of the messages: that several may be about one thing.
type tells int

const (
	tellsType  tells = 1 << iota // of the message, or of the thing
	tellsEvent                   // what happened
	tellsState                   // of the thing
)

// The last words of names that tell a state, and words of times at which one changed.
var (
	states  = strings.Fields("status state phase stage step op operation transition revision")
	changes = strings.Fields("updated modified changed deleted")
)

// nameTells returns what the name of a member says.
func nameTells(name step) tells {
	own := words(name)
	if len(own) == 0 {
		return 0
	}
	last, before := own[len(own)-1], ""
	if len(own) > 1 {
		before = own[len(own)-2]
	}
	named := last == "type" || last == "kind"
	switch {
	case slices.Contains(states, last), slices.ContainsFunc(own, func(w string) bool { return slices.Contains(changes, w) }):
		return tellsState
	case slices.Contains([]string{"event", "action", "verb"}, last), before == "event" && (named || last == "name"):
		return tellsEvent
	case named && slices.Contains([]string{"", "message", "change", "detail", "notification", "activity"}, before):
		return tellsType
	default:
		return 0
	}
}

// told returns what the fields at the top, in the message's metadata and beside an id say, and the one
// that says most.
func (d *drafter) told(id *field) (all tells, by *field) {
	most := tells(0)
	for i := range d.fields {
		f := &d.fields[i]
		says := f.says
		if slices.Equal(f.path[:len(f.path)-1], id.path[:len(id.path)-1]) {
			says |= f.beside
		}
		if f == id || says == 0 {
			continue
		}
		if all |= says; says > most {
			most, by = says, f
		}
	}
	return all, by
}

// isOwn reports whether an id is the message's own, so that only the same message has it again. The
// id of a thing never is: later messages about it would be lost.
func (d *drafter) isOwn(id *field) bool {
	says, _ := d.told(id)
	switch id.id {
	case ofEvent:
		return true
	case ofMessage:
		return says&tellsState == 0
	case plainID: // beside the id of what an event is about, it is the event's
		about := func(k idKind) bool {
			return slices.ContainsFunc(d.fields, func(f field) bool { return f.id == k && hasIDWord(f.path[len(f.path)-1]) })
		}
		return says != 0 && says != tellsState && about(ofThing) || says&tellsState == 0 && says&tellsEvent != 0 && about(ofOwner)
	default:
		return false
	}
}

// enoughForKey is how many bodies must have different values of a member before it is drafted as the
// key: a key that repeats later loses messages.
const enoughForKey = 10

// keys lists the lines of keys to try: the first that loads is the draft's.
func (d *drafter) keys(meta metaNames, shape envelope) (all []string) {
	if d.table != nil {
		return d.tableKeys()
	}
	var own, others []*field
	for i := range d.fields {
		f := &d.fields[i]
		if !d.different(f) {
			continue
		}
		if d.total < enoughForKey || len(f.path) > 1 && !inMeta(f.path) || f.layer >= 0 || shape.name != "" || !d.isOwn(f) {
			others = append(others, f)
		} else {
			own = append(own, f)
		}
	}
	slices.SortStableFunc(own, func(a, b *field) int { return int(a.id) - int(b.id) })
	others = slices.Concat(own, others)
	if d.rows != nil {
		return d.rowKeys(meta, shape, own, others)
	}
	if columns := d.envelopeKey(shape); columns != nil {
		all = append(all, fmt.Sprintf("key: [%s] # what tells %s apart: it holds if a redrive renames a message\n", strings.Join(columns, ", "), shape.name)+d.candidates(others, columns))
	}
	for _, f := range own {
		text := fmt.Sprintf("key: [%s] # different in all %s bodies: it holds if a redrive renames a message. A message that repeats it is taken for a duplicate\n", scalarText(f.column), humanize.Comma(int64(d.total)))
		all = append(all, text+d.candidates(others, []string{scalarText(f.column)}))
	}
	return append(all, lastKey(meta)+"\n"+d.candidates(others, nil))
}

// rowKeys lists the keys of rows that are elements: what tells messages apart, and the element's number.
func (d *drafter) rowKeys(meta metaNames, shape envelope, own, others []*field) (all []string) {
	perhaps := func(key []string) string {
		var names []string
		for _, f := range others {
			if column := scalarText(f.column); !slices.Contains(key, column) {
				names = append(names, column)
			}
		}
		if names == nil {
			return ""
		}
		return fmt.Sprintf("# Different in all %s bodies: %s. A key of it and %s holds if a redrive renames a message, and takes a message that repeats it for a duplicate\n", humanize.Comma(int64(d.total)), strings.Join(names, ", "), meta.rowNumber)
	}
	if columns := d.envelopeKey(shape); columns != nil {
		all = append(all, fmt.Sprintf("key: [%s, %s] # what tells %s apart, and the number of the element: it holds if a redrive renames a message\n", strings.Join(columns, ", "), meta.rowNumber, shape.name)+perhaps(columns))
	}
	for _, f := range own {
		column := scalarText(f.column)
		all = append(all, fmt.Sprintf("key: [%s, %s] # the first is different in all %s bodies: it holds if a redrive renames a message. A message that repeats it is taken for a duplicate\n", column, meta.rowNumber, humanize.Comma(int64(d.total)))+perhaps([]string{column}))
	}
	return append(all, fmt.Sprintf("key: [%s, %s, %s]\n", meta.sentAt, meta.messageID, meta.rowNumber)+perhaps(nil))
}

// different reports whether a field is an id that is different in all bodies.
func (d *drafter) different(f *field) bool {
	uuid := strings.HasPrefix(f.form.field, "type: uuid")
	typed := uuid || f.form.id == formText || f.form.id == formInteger
	return d.total > 1 && f.filled && f.personal == 0 && typed && (uuid || hasIDWord(f.path[len(f.path)-1])) && !f.node.repeats && !f.node.unproven && f.node.blank == 0
}

// candidates returns comments about columns that may be a key, and are not in it: those that later
// messages may repeat, and others.
func (d *drafter) candidates(all []*field, key []string) (text string) {
	var perhaps []string
	repeated := map[*field][]string{} // by the field that says so
	for i := range d.fields {
		f := &d.fields[i]
		if slices.Contains(key, scalarText(f.column)) || !slices.Contains(all, f) {
			continue
		}
		if _, by := d.told(f); by != nil && !d.isOwn(f) {
			repeated[by] = append(repeated[by], scalarText(f.column))
		} else {
			perhaps = append(perhaps, scalarText(f.column))
		}
	}
	if perhaps != nil {
		text = fmt.Sprintf("# Different in all %s bodies, so perhaps a key: %s. A message that repeats a key is taken for a duplicate\n", humanize.Comma(int64(d.total)), strings.Join(perhaps, ", "))
	}
	for i := range d.fields {
		by := &d.fields[i]
		columns := repeated[by]
		if columns == nil {
			continue
		}
		text += fmt.Sprintf("# Not the key, though different in all %s bodies: %s. %s says that more messages about the same one may follow: they would be taken for duplicates, and not stored; with on_conflict: replace the newest is kept", humanize.Comma(int64(d.total)), strings.Join(columns, ", "), scalarText(by.name))
		if by.filled && by.personal == 0 && slices.Contains([]string{formText, formInteger, formUUID, "timestamp"}, by.form.id) {
			text += fmt.Sprintf(". [%s, %s] tells them apart, unless one comes twice", columns[0], scalarText(by.column))
		}
		text += "\n"
	}
	return text
}

// envelopeKey returns the columns of the envelope's own key, nil if the draft does not have them all.
func (d *drafter) envelopeKey(shape envelope) (columns []string) {
	for _, path := range shape.key {
		i := slices.IndexFunc(d.fields, func(f field) bool {
			return slices.Equal(f.path, path) && (f.layer == 0) == shape.outer && f.filled && f.personal == 0
		})
		if i < 0 {
			return nil
		}
		columns = append(columns, scalarText(d.fields[i].column))
	}
	return columns
}

// lastKey is the key that every message has.
func lastKey(meta metaNames) string {
	return fmt.Sprintf("key: [%s, %s]", meta.sentAt, meta.messageID)
}

// tableKeys lists the table's own keys that every body fills, those of the body before those that
// messages repeat and those of metadata, and the ledger for a table without.
func (d *drafter) tableKeys() (all []string) {
	var repeated, ofMeta []string
	for _, key := range d.table.Keys {
		var columns []string
		meta := false
		for _, name := range key {
			f := slices.IndexFunc(d.fields, func(f field) bool { return f.column == name && f.canBeKey() })
			c := slices.IndexFunc(d.table.Columns, func(c *Column) bool {
				return c.Name == name && slices.Contains([]string{"sent_at", "sent_date", "message_id", "row_number"}, c.meta)
			})
			if f >= 0 || c >= 0 {
				columns = append(columns, scalarText(name))
			}
			meta = meta || c >= 0
		}
		why := d.repeats(key)
		text := fmt.Sprintf("key: [%s] # a unique key of the table%s%s\n", strings.Join(columns, ", "), why, d.rounds(key)) + d.otherKeys(key)
		switch {
		case len(columns) < len(key):
		case meta:
			ofMeta = append(ofMeta, text)
		case why != "":
			repeated = append(repeated, text)
		default:
			all = append(all, text)
		}
	}
	return append(slices.Concat(all, repeated, ofMeta), "ledger: sluice_ledger # no unique key of the table is filled by every body, with values that a key takes\n")
}

// canBeKey reports whether the key of a table may have the field: a model takes no times and no
// numbers in a text there that have several spellings, or that the column would cut.
func (f *field) canBeKey() bool {
	cut := f.node.fine && strings.HasPrefix(f.form.field, "type: time")
	spelled := f.node.fraction && f.form.id == formMixed
	return f.filled && f.personal == 0 && !cut && !spelled
}

// coarse matches types of times that keep fewer digits of a second than microseconds have.
var coarse = regexp.MustCompile(`^time\S*\(([0-5])\)`)

// rounds says which columns of a key keep fewer digits of a second than messages may have.
func (d *drafter) rounds(key []string) (text string) {
	for _, c := range d.table.Columns {
		if m := coarse.FindStringSubmatch(c.Base); m != nil && slices.Contains(key, c.Name) && c.meta == "" {
			text += fmt.Sprintf(". %s keeps %s digits of a second: messages that differ in less are taken for duplicates", c.Name, m[1])
		}
	}
	return text
}

// otherKeys says which other keys of the table the model fills: they are no reason for a duplicate.
func (d *drafter) otherKeys(key []string) (text string) {
	for _, other := range d.table.Keys {
		filled := !slices.ContainsFunc(other, func(name string) bool {
			return !slices.ContainsFunc(d.fields, func(f field) bool { return f.column == name })
		})
		if filled && !slices.Equal(key, other) {
			text += fmt.Sprintf("# The table has a unique key (%s) too: a message that repeats that one is rejected\n", strings.Join(other, ", "))
		}
	}
	return text
}

// repeats returns a warning if messages may repeat a key of one column, "" if nothing shows it.
func (d *drafter) repeats(key []string) string {
	i := slices.IndexFunc(d.fields, func(f field) bool { return len(key) == 1 && f.column == key[0] })
	if i < 0 {
		return ""
	}
	f := &d.fields[i]
	switch _, by := d.told(f); {
	case f.node.repeats:
		return ". Bodies of the sample repeat it: all but the first of each are taken for duplicates; with on_conflict: replace the newest is kept"
	case by != nil && hasIDWord(f.path[len(f.path)-1]) && !d.isOwn(f):
		return fmt.Sprintf(". If more messages about the same one follow, as %s says, they are taken for duplicates; with on_conflict: replace the newest is kept", scalarText(by.name))
	default:
		return ""
	}
}
