package message

import (
	"bytes"
	"html"
	"slices"
)

// HTMLText gives what a reader of HTML sees as text: tags, comments, scripts
// and styles removed, so that w<b></b>ord is one word; elements that begin a
// line give a line end; character references are resolved. It is for matching,
// not for showing: it does not know what is hidden by style. Linear in time.
func HTMLText(src []byte) []byte {
	out := make([]byte, 0, len(src)/2)
	skip := "" // inside this element nothing is text
	for len(src) > 0 {
		i := bytes.IndexByte(src, '<')
		if i < 0 {
			i = len(src)
		}
		if skip == "" {
			out = appendText(out, src[:i])
		}
		src = src[i:]
		if len(src) == 0 {
			break
		}
		if skip != "" && !bytes.HasPrefix(src, []byte("</")) {
			src = src[1:] // in a script only its end counts
			continue
		}
		end, name, closing := tag(src)
		switch {
		case end == 0: // a lone <
			if skip == "" {
				out = append(out, '<')
			}
			end = 1
		case skip != "":
			if closing && name == skip {
				skip = ""
			}
		case !closing && (name == "script" || name == "style"):
			skip = name
		case slices.Contains([]string{"p", "br", "div", "tr", "td", "th", "li", "ul", "ol", "table", "hr", "pre",
			"h1", "h2", "h3", "h4", "h5", "h6", "blockquote", "section", "body"}, name):
			if n := len(out); n > 0 && out[n-1] != '\n' {
				out = append(out, '\n')
			}
		}
		src = src[end:]
	}
	return out
}

// appendText resolves references such as &amp;.
func appendText(out, text []byte) []byte {
	if bytes.IndexByte(text, '&') < 0 {
		return append(out, text...)
	}
	return append(out, html.UnescapeString(string(text))...)
}

// tag looks at a tag or comment at the start of src: its length, name in lower
// case, and whether it is an end tag. 0 is no tag. A tag that never closes
// takes all that is left, as in a browser.
func tag(src []byte) (end int, name string, closing bool) {
	if bytes.HasPrefix(src, []byte("<!--")) {
		if i := bytes.Index(src[4:], []byte("-->")); i >= 0 {
			return 4 + i + 3, "", false
		}
		return len(src), "", false
	}
	i := 1
	if len(src) > 1 && src[1] == '/' {
		closing, i = true, 2
	}
	if i >= len(src) || !letter(src[i]) && src[i] != '!' && src[i] != '?' {
		return 0, "", false
	}
	start := i
	for i < len(src) && (letter(src[i]) || src[i] >= '0' && src[i] <= '9') {
		i++
	}
	name = string(bytes.ToLower(src[start:min(i, start+16)]))
	return tagEnd(src, i), name, closing
}

// tagEnd finds the > that ends a tag; one inside quotes does not.
func tagEnd(src []byte, i int) int {
	for i < len(src) {
		switch c := src[i]; c {
		case '>':
			return i + 1
		case '"', '\'':
			if src[i-1] != '=' && !isBlank(src[i-1]) {
				break // a quote inside a word opens nothing
			}
			if j := bytes.IndexByte(src[i+1:], c); j >= 0 {
				i += j + 1
			} else if j := bytes.IndexByte(src[i:], '>'); j >= 0 {
				return i + j + 1
			} else {
				return len(src)
			}
		}
		i++
	}
	return len(src)
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
