package model

// What the tests see of the inside.
var (
	Names            = names
	MessageUUID      = messageUUID
	MessageNamespace = messageNamespace
)

// Members walks an object as Reader does.
func Members(object []byte) (names, values [][]byte) {
	for m := firstMember(object); m.name != nil; m = m.next(object) {
		names = append(names, m.name)
		values = append(values, m.value)
	}
	return names, values
}
