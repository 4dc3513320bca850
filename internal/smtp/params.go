package smtp

import (
	"strings"
)

// parsePath reads "FROM:<path> parameters" behind a verb, RFC 5321 section
// 4.1.1.2. loose allows what section 3.3 forbids but old programs send: no
// angle brackets, and blanks behind the colon.
//
// Source routes (<@a,@b:c@d>) are refused, not ignored as section 4.1.1.3 would
// like: what is checked must be what is routed, and nobody needs them (register B6).
func parsePath(args, word string, loose bool) (path, params string, ok bool) {
	if len(args) < len(word) || !strings.EqualFold(args[:len(word)], word) {
		return "", "", false
	}
	rest := args[len(word):]
	if loose {
		rest = strings.TrimLeft(rest, " ")
	}
	if rest == "" {
		return "", "", false
	}
	if rest[0] != '<' {
		if !loose {
			return "", "", false
		}
		path, params, _ = strings.Cut(rest, " ")
		return path, params, path != "" && !strings.ContainsAny(path, "<>")
	}
	end := pathEnd(rest)
	if end < 0 {
		return "", "", false
	}
	path, params = rest[1:end], rest[end+1:]
	if params != "" {
		if params[0] != ' ' {
			return "", "", false
		}
		params = params[1:]
	}
	return path, params, true
}

// pathEnd finds the closing bracket, which may not be inside a quoted string.
func pathEnd(s string) int {
	quoted := false
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			if quoted {
				i++
			}
		case '"':
			quoted = !quoted
		case '>':
			if !quoted {
				return i
			}
		}
	}
	return -1
}
