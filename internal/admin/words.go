package admin

import (
	"strings"

	"lazaret/internal/errs"
)

// Limits of a command line.
const (
	maxLine     = 64 * 1024
	maxWords    = 1000
	maxCommands = 100
)

// split reads a line as commands between semicolons, each as words. Single
// quotes keep all; double quotes know \" and \\ as escapes. A backslash outside
// of quotes is an ordinary character, since most that are typed belong to
// regular expressions.
func split(line string) ([][]string, error) {
	if len(line) > maxLine {
		return nil, errs.New(errs.Invalid, "Invalid arguments: the line is longer than %d bytes", maxLine)
	}
	var s splitter
	for i := 0; i < len(line); i++ {
		c := line[i]
		switch {
		case s.quote == 0 && c == ';':
			s.endWord()
			s.endCommand()
		case s.quote == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r'):
			s.endWord()
		case s.quote == 0 && (c == '"' || c == '\''):
			s.quote, s.open = c, true
		case s.quote != 0 && c == s.quote:
			s.quote = 0
		case s.quote == '"' && c == '\\' && i+1 < len(line) && (line[i+1] == '"' || line[i+1] == '\\'):
			i++
			s.word.WriteByte(line[i])
		default:
			s.word.WriteByte(c)
			s.open = true
		}
	}
	if s.quote != 0 {
		return nil, errs.New(errs.Invalid, "Invalid arguments: a quote %c is not closed", s.quote)
	}
	s.endWord()
	s.endCommand()
	if s.total > maxWords || len(s.commands) > maxCommands {
		return nil, errs.New(errs.Invalid, "Invalid arguments: more than %d words or %d commands in a line", maxWords, maxCommands)
	}
	return s.commands, nil
}

type splitter struct {
	quote    byte // open quote, or 0
	open     bool // a word has begun, perhaps an empty one in quotes
	word     strings.Builder
	words    []string
	commands [][]string
	total    int
}

func (s *splitter) endWord() {
	if s.open {
		s.words = append(s.words, s.word.String())
		s.total++
	}
	s.word.Reset()
	s.open = false
}

func (s *splitter) endCommand() {
	if len(s.words) > 0 {
		s.commands = append(s.commands, s.words)
	}
	s.words = nil
}

// quoted writes words so that split reads the same words again, for the audit.
func quoted(words []string) string {
	var b strings.Builder
	for i, w := range words {
		if i > 0 {
			b.WriteByte(' ')
		}
		if w != "" && !strings.ContainsAny(w, " \t\r\n;\"'") {
			b.WriteString(w)
			continue
		}
		b.WriteByte('"')
		b.WriteString(strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(w))
		b.WriteByte('"')
	}
	return b.String()
}

// quotedName gives a command's name as the table has it.
func quotedName(words []string) string { return strings.ToLower(strings.Join(words, " ")) }

func firstWord(name string) string {
	first, _, _ := strings.Cut(name, " ")
	return first
}
