package config

import (
	"encoding"
	"errors"
	"net/netip"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"switchboard/adapter/secret"
)

var errRange = errors.New("the number is out of range")

// scalar reads one word. Its errors never repeat it where it may be a secret.
func (b *binder) scalar(n *yaml.Node, v reflect.Value, tag reflect.StructTag) error {
	t := v.Type()
	if n.Kind != yaml.ScalarNode || isNull(n) {
		return errors.New("want " + wanted(t) + ", but this is " + describe(n))
	}
	if list := tag.Get("enum"); list != "" {
		if known := strings.Split(list, ","); !slices.Contains(known, n.Value) {
			return errors.New(strings.TrimSpace(safe(n.Value)+" is not allowed") + meant(n.Value, known))
		}
	}
	kind := n.ShortTag()
	switch {
	case t == secretType:
		return b.secret(n, v)
	case t == durationType:
		d, err := parseDuration(n.Value)
		if err != nil {
			return err
		}
		v.SetInt(int64(d))
		return nil
	case t == prefixType:
		network, err := netip.ParsePrefix(n.Value)
		if err != nil {
			return errors.New("want a network such as 10.0.0.0/8")
		}
		v.Set(reflect.ValueOf(network))
		return nil
	case isText(t):
		return v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value))
	case t.Kind() == reflect.String && kind != "!!bool":
		v.SetString(n.Value)
		return nil
	case t.Kind() == reflect.Bool && kind == "!!bool":
		v.SetBool(strings.EqualFold(n.Value, "true"))
		return nil
	case t.Kind() == reflect.Float64 && (kind == "!!int" || kind == "!!float"):
		if f, err := strconv.ParseFloat(n.Value, 64); err == nil {
			v.SetFloat(f)
			return nil
		}
	case v.CanInt() && kind == "!!int":
		i, err := strconv.ParseInt(n.Value, 10, t.Bits())
		if err != nil {
			return errRange
		}
		v.SetInt(i)
		return nil
	case v.CanUint() && kind == "!!int":
		i, err := strconv.ParseUint(n.Value, 10, t.Bits())
		if err != nil {
			return errRange
		}
		v.SetUint(i)
		return nil
	}
	return errors.New("want " + wanted(t) + ", but this is " + describe(n))
}

func (b *binder) secret(n *yaml.Node, v reflect.Value) error {
	if kind := n.ShortTag(); kind == "!!bool" {
		return errors.New("want text, but this is " + describe(n))
	}
	ref := n.Value
	if name, ok := strings.CutPrefix(ref, "file:"); ok {
		ref = "file:" + b.beside(name)
	}
	s, err := secret.Resolve(ref, b.getenv)
	if err != nil {
		return err
	}
	v.Set(reflect.ValueOf(s))
	return nil
}

// beside is a path of the file as the program can use it.
func (b *binder) beside(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(b.file), path)
}

func wanted(t reflect.Type) string {
	switch {
	case t == durationType:
		return "a duration such as 30s, 15m, 4h or 35d"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.Float64:
		return "a number"
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64 && !isText(t):
		return "a whole number that is not negative"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Int64 && !isText(t):
		return "a whole number"
	default:
		return "text"
	}
}

// describe says what n is, and not what is in it.
func describe(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	}
	switch n.ShortTag() {
	case "!!null":
		return "nothing"
	case "!!bool":
		return `true or false; put text into "quotes"`
	case "!!int", "!!float":
		return "a number"
	default:
		return "text"
	}
}

var plainWord = regexp.MustCompile(`^[A-Za-z0-9_.*-]{1,40}$`)

// safe is a word of the file as a message may repeat it: short and plain, or not
// at all.
func safe(word string) string {
	if plainWord.MatchString(word) {
		return strconv.Quote(word)
	}
	return ""
}

// unknown says that no thing of a sort has this name.
func unknown(sort, name string, known []string) string {
	if safe(name) == "" {
		return "no such " + sort + meant(name, known)
	}
	return "no " + sort + " " + safe(name) + meant(name, known)
}

func join(path, key string) string {
	if !plainWord.MatchString(key) {
		key = "?"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
