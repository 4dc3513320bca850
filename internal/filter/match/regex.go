// Package match finds expressions, dictionaries and smart identifiers in the
// text of messages, for the rules of the filter language (reference 7.4).
//
// It promises an end: expressions are RE2 with a cap on their size, and text is
// looked at in pieces. It never says that text is clean that it did not see.
package match

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// Limits of one regular expression (register C3). The engine is RE2: its time
// is linear in the text, and its factor is the number of instructions.
const (
	maxPattern      = 4096 // bytes
	maxInstructions = 4000
)

// Compile reads a regular expression; fold makes case meaningless. The error is
// one for the person who wrote it.
func Compile(pattern string, fold bool) (*regexp.Regexp, error) {
	re, _, err := compileLiteral(pattern, fold)
	return re, err
}

// compileLiteral is compile, and gives what every match must hold.
func compileLiteral(pattern string, fold bool) (*regexp.Regexp, string, error) {
	if len(pattern) > maxPattern {
		return nil, "", fmt.Errorf("the regular expression is longer than %d bytes", maxPattern)
	}
	if hint := foreign(pattern); hint != "" {
		return nil, "", errors.New(hint)
	}
	flags := syntax.Perl
	if fold {
		flags |= syntax.FoldCase
	}
	tree, err := syntax.Parse(pattern, flags)
	if err != nil {
		var se *syntax.Error
		if errors.As(err, &se) {
			return nil, "", fmt.Errorf("the regular expression is wrong: %s: %s", se.Code, clip(se.Expr))
		}
		return nil, "", fmt.Errorf("the regular expression is wrong: %w", err)
	}
	// The size is taken before the repetitions are unrolled: unrolling is
	// what would cost the memory.
	if weight(tree) > maxInstructions {
		return nil, "", fmt.Errorf("the regular expression is too large: its repetitions unroll to more than %d steps", maxInstructions)
	}
	if fold {
		pattern = "(?i)" + pattern
	}
	re, err := regexp.Compile(pattern)
	return re, literal(tree), err
}

// weight is about the number of instructions that re compiles to, capped.
func weight(re *syntax.Regexp) int {
	n := 1
	if re.Op == syntax.OpLiteral {
		n = len(re.Rune)
	}
	for _, sub := range re.Sub {
		if n += weight(sub); n > maxInstructions {
			return maxInstructions + 1
		}
	}
	if re.Op == syntax.OpRepeat {
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxInstructions+1)
}

// constructs of other engines that RE2 does not have, or reads otherwise.
var constructs = [...]struct{ text, name string }{
	{"(?=", "look-ahead (?=...)"},
	{"(?!", "negative look-ahead (?!...)"},
	{"(?<=", "look-behind (?<=...)"},
	{"(?<!", "negative look-behind (?<!...)"},
	{"(?P=", "the back reference (?P=name)"},
	{"(?(", "the condition (?(...)...)"},
	{"(?>", "the atomic group (?>...)"},
	{"(?#", "the comment (?#...)"},
	{`\Z`, `\Z (write \z)`},
	{"{,", "a repetition without a lower bound (write {0,n})"},
}

// foreign names the first construct in a pattern that is not RE2, or gives "".
func foreign(p string) string {
	const sorry = " is not possible: regular expressions are RE2"
	class := false
	for i := 0; i < len(p); i++ {
		for _, c := range constructs {
			if !class && strings.HasPrefix(p[i:], c.text) {
				return c.name + sorry
			}
		}
		switch {
		case p[i] == '\\':
			if i++; !class && i < len(p) && p[i] >= '1' && p[i] <= '9' {
				return `the back reference \` + p[i:i+1] + sorry
			}
			if strings.HasPrefix(p[i:], "Q") { // \Q...\E is plain text
				end := strings.Index(p[i:], `\E`)
				if end < 0 {
					return ""
				}
				i += end + 1
			}
		case class:
			class = p[i] != ']'
		case p[i] == '[':
			class = true
			if strings.HasPrefix(p[i+1:], "^") {
				i++
			}
			if strings.HasPrefix(p[i+1:], "]") { // a bracket at the beginning is one of the class
				i++
			}
		}
	}
	return ""
}

// clip shortens what is shown in an error.
func clip(s string) string {
	if len(s) > 40 {
		return strings.ToValidUTF8(s[:40], "") + "..."
	}
	return s
}
