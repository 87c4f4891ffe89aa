package sam_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A template is data: maps, lists, strings, numbers and booleans, with CloudFormation's functions in
// their long form ({"Ref": …}, {"Fn::If": …}).
type template = map[string]any

func readTemplate(t testing.TB) template {
	t.Helper()
	return readTemplateFile(t, "../../template.yaml")
}

func readTemplateFile(t testing.TB, path string) template {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		t.Fatal(err)
	}
	if len(file.Docs) != 1 {
		t.Fatalf("%s has %d documents", path, len(file.Docs))
	}
	return included(t, plain(t, file.Docs[0].Body), filepath.Dir(path)).(template)
}

var shortForm = regexp.MustCompile(`(?m)(^|[\s\[{,])![A-Z]`)

// included replaces AWS::Include, whose file is relative to the template's folder, by what is in the
// file.
func included(t testing.TB, v any, dir string) any {
	switch v := v.(type) {
	case map[string]any:
		if include := object(v["Fn::Transform"]); include["Name"] == "AWS::Include" {
			path := filepath.Join(dir, text(at(include, "Parameters", "Location")))
			if source, err := os.ReadFile(path); err != nil || shortForm.Match(source) {
				t.Fatalf("%s: %v, or a short form of a function, which AWS::Include does not take", path, err)
			}
			return readTemplateFile(t, path)
		}
		for key, value := range v {
			v[key] = included(t, value, dir)
		}
	case []any:
		for i, value := range v {
			v[i] = included(t, value, dir)
		}
	}
	return v
}

// plain turns YAML into data, and short forms of functions into long ones.
func plain(t testing.TB, node ast.Node) any {
	t.Helper()
	switch n := node.(type) {
	case *ast.MappingNode:
		m := map[string]any{}
		for _, v := range n.Values {
			m[keyOf(t, v.Key)] = plain(t, v.Value)
		}
		return m
	case *ast.MappingValueNode:
		return map[string]any{keyOf(t, n.Key): plain(t, n.Value)}
	case *ast.SequenceNode:
		list := []any{}
		for _, v := range n.Values {
			list = append(list, plain(t, v))
		}
		return list
	case *ast.TagNode:
		name, value := strings.TrimPrefix(n.Start.Value, "!"), plain(t, n.Value)
		switch name {
		case "Ref", "Condition":
			return map[string]any{name: value}
		case "GetAtt":
			resource, attribute, _ := strings.Cut(value.(string), ".")
			return map[string]any{"Fn::GetAtt": []any{resource, attribute}}
		default:
			return map[string]any{"Fn::" + name: value}
		}
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	case *ast.IntegerNode:
		v, err := strconv.Atoi(n.String())
		if err != nil {
			t.Fatalf("%s: %v", n, err)
		}
		return v
	case *ast.BoolNode:
		return n.Value
	default:
		t.Fatalf("%s: a %T, which this test does not know", node.GetPath(), node)
		return nil
	}
}

func keyOf(t testing.TB, key ast.MapKeyNode) string {
	t.Helper()
	if s, ok := key.(*ast.StringNode); ok {
		return s.Value
	}
	return key.String()
}

// stack holds what CloudFormation would make of a template and parameters.
type stack struct {
	source     template
	parameters map[string]string
	resources  map[string]resource
	outputs    map[string]any

	conditions map[string]bool
	problems   []string // references to what is not there
	where      string
}

type resource struct {
	id, kind   string
	properties map[string]any
	attributes map[string]any // DeletionPolicy, Metadata, …
}

const (
	account = "123456789012"
	region  = "eu-central-1"
)

var pseudo = map[string]any{
	"AWS::AccountId": account, "AWS::Region": region, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com",
	"AWS::StackName": "mystack", "AWS::NoValue": noValue{},
}

type noValue struct{}

// resolve makes a stack. Parameters that are not given get their defaults.
func resolve(source template, given map[string]string) *stack {
	s := &stack{source: source, parameters: map[string]string{}, resources: map[string]resource{}, conditions: map[string]bool{}}
	declared := object(source["Parameters"])
	for name, p := range declared {
		value, ok := given[name]
		if !ok {
			preset, ok := object(p)["Default"]
			if !ok {
				s.problems = append(s.problems, "parameter "+name+" has no value")
			}
			value = fmt.Sprint(preset)
		}
		if !allowed(object(p), value) {
			s.problems = append(s.problems, fmt.Sprintf("parameter %s refuses %q", name, value))
		}
		s.parameters[name] = value
	}
	for name := range given {
		if declared[name] == nil {
			s.problems = append(s.problems, "no parameter "+name)
		}
	}
	all := object(source["Resources"])
	for id, r := range all {
		r := object(r)
		if condition, ok := r["Condition"].(string); ok && !s.condition(condition) {
			continue
		}
		s.resources[id] = resource{id: id, kind: text(r["Type"]), attributes: r}
	}
	for _, id := range slices.Sorted(maps.Keys(s.resources)) {
		s.where = id
		r := s.resources[id]
		r.properties = object(s.eval(r.attributes["Properties"]))
		if r.kind == "AWS::Serverless::Function" {
			s.where = id + " (Globals)"
			for key, value := range object(s.eval(object(source["Globals"])["Function"])) {
				if _, ok := r.properties[key]; !ok {
					r.properties[key] = value
				}
			}
		}
		s.resources[id] = r
	}
	s.outputs = map[string]any{}
	for name, o := range object(source["Outputs"]) {
		s.where = "output " + name
		if condition, ok := object(o)["Condition"].(string); ok && !s.condition(condition) {
			continue
		}
		s.outputs[name] = s.eval(object(o)["Value"])
	}
	return s
}

// allowed reports whether a parameter takes a value.
func allowed(parameter map[string]any, value string) bool {
	if values := texts(parameter["AllowedValues"]); values != nil && !slices.Contains(values, value) {
		return false
	}
	if least, ok := parameter["MinValue"]; ok && number(value) < number(least) {
		return false
	}
	if most, ok := parameter["MaxValue"]; ok && number(value) > number(most) {
		return false
	}
	pattern, _ := parameter["AllowedPattern"].(string)
	return regexp.MustCompile(pattern).MatchString(value)
}

// refusals returns the names of the template's Rules that the parameters break.
func (s *stack) refusals() (names []string) {
	rules := object(s.source["Rules"])
	for _, name := range slices.Sorted(maps.Keys(rules)) {
		s.where = "rule " + name
		for _, a := range elements(object(rules[name])["Assertions"]) {
			if s.eval(object(a)["Assert"]) != true {
				names = append(names, name)
			}
		}
	}
	return names
}

func (s *stack) condition(name string) bool {
	if v, ok := s.conditions[name]; ok {
		return v
	}
	body, ok := object(s.source["Conditions"])[name]
	if !ok {
		s.problem("no condition %s", name)
	}
	v, _ := s.eval(body).(bool)
	s.conditions[name] = v
	return v
}

func (s *stack) problem(format string, args ...any) {
	s.problems = append(s.problems, s.where+": "+fmt.Sprintf(format, args...))
}

func (s *stack) eval(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if len(v) == 1 {
			for name, argument := range v {
				if name == "Ref" || strings.HasPrefix(name, "Fn::") || name == "Condition" && !isObject(argument) {
					return s.function(name, argument)
				}
			}
		}
		m := map[string]any{}
		for key, value := range v {
			if e := s.eval(value); e != (noValue{}) {
				m[key] = e
			}
		}
		return m
	case []any:
		list := []any{}
		for _, value := range v {
			if e := s.eval(value); e != (noValue{}) {
				list = append(list, e)
			}
		}
		return list
	default:
		return v
	}
}

var placeholder = regexp.MustCompile(`\$\{[^}!]+\}`)

func (s *stack) function(name string, argument any) any {
	switch name {
	case "Ref":
		return s.ref(text(argument))
	case "Condition":
		return s.condition(text(argument))
	case "Fn::GetAtt":
		return s.attribute(text(elements(argument)[0]), text(elements(argument)[1]))
	case "Fn::If":
		args := elements(argument)
		if s.condition(text(args[0])) {
			return s.eval(args[1])
		}
		return s.eval(args[2])
	}
	if name == "Fn::Sub" {
		format, given := argument, map[string]any{}
		if args, ok := argument.([]any); ok {
			format, given = args[0], object(s.eval(args[1]))
		}
		return placeholder.ReplaceAllStringFunc(text(format), func(found string) string {
			inner := strings.Trim(found, "${}")
			if v, ok := given[inner]; ok {
				return fmt.Sprint(v)
			}
			if id, attribute, ok := strings.Cut(inner, "."); ok {
				return s.attribute(id, attribute)
			}
			return fmt.Sprint(s.ref(inner))
		})
	}
	args := elements(s.eval(argument))
	switch name {
	case "Fn::Equals":
		return fmt.Sprint(args[0]) == fmt.Sprint(args[1])
	case "Fn::Not":
		return args[0] != true
	case "Fn::And":
		return !slices.Contains(args, any(false))
	case "Fn::Or":
		return slices.Contains(args, any(true))
	case "Fn::Join":
		return strings.Join(texts(args[1]), text(args[0]))
	case "Fn::Split":
		list := []any{}
		for part := range strings.SplitSeq(text(args[1]), text(args[0])) {
			list = append(list, part)
		}
		return list
	case "Fn::Select":
		list, i := elements(args[1]), number(args[0])
		if i >= len(list) {
			s.problem("Fn::Select %d of %d", i, len(list))
			return ""
		}
		return list[i]
	default:
		s.problem("%s, which this test does not know", name)
		return nil
	}
}

func (s *stack) there(id string) resource {
	r, ok := s.resources[id]
	if !ok {
		s.problem("refers to %s, which is not there", id)
	}
	return r
}

func (s *stack) ref(id string) any {
	if v, ok := pseudo[id]; ok {
		return v
	}
	if v, ok := s.parameters[id]; ok {
		return v
	}
	switch r := s.there(id); r.kind {
	case "AWS::SQS::Queue":
		return "https://sqs." + region + ".amazonaws.com/" + account + "/" + id
	case "AWS::SecretsManager::Secret":
		return arn("secretsmanager", "secret:"+id+"-AbCdEf")
	case "AWS::Lambda::Alias":
		return arn("lambda", "function:"+id)
	default:
		return id
	}
}

func (s *stack) attribute(id, name string) string {
	r := s.there(id)
	switch r.kind + "." + name {
	case "AWS::SQS::Queue.Arn":
		return arn("sqs", id)
	case "AWS::SQS::Queue.QueueName", "AWS::Lambda::Version.Version":
		return id
	case "AWS::Logs::LogGroup.Arn":
		return arn("logs", "log-group:"+id+":*")
	case "AWS::IAM::Role.Arn":
		return "arn:aws:iam::" + account + ":role/" + id
	default:
		s.problem("Fn::GetAtt of %s.%s, which this test does not know", r.kind, name)
		return ""
	}
}

func arn(service, rest string) string {
	return "arn:aws:" + service + ":" + region + ":" + account + ":" + rest
}

// ---------------------------------------------------------------- access to data

func isObject(v any) bool { _, ok := v.(map[string]any); return ok }

func object(v any) map[string]any { m, _ := v.(map[string]any); return m }

// elements returns a list, or a single value as a list of one.
func elements(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	default:
		return []any{v}
	}
}

func text(v any) string { s, _ := v.(string); return s }

func texts(v any) []string {
	var all []string
	for _, e := range elements(v) {
		all = append(all, fmt.Sprint(e))
	}
	return all
}

// number returns an integer, also one from a parameter, and -1 for anything else.
func number(v any) int {
	switch v := v.(type) {
	case int:
		return v
	case string:
		if n, err := strconv.Atoi(v); err == nil {
			return n
		}
	}
	return -1
}

// at walks into maps and lists: at(t, "Resources", "Queue", "Properties").
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			v = object(v)[step]
		case int:
			list := elements(v)
			if v = nil; step < len(list) {
				v = list[step]
			}
		}
	}
	return v
}

// clone copies data, so that a mutation stays in its test.
func clone(v any) any {
	switch v := v.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, value := range v {
			m[key] = clone(value)
		}
		return m
	case []any:
		list := make([]any, len(v))
		for i, value := range v {
			list[i] = clone(value)
		}
		return list
	default:
		return v
	}
}
