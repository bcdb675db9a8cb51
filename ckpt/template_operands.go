package ckpt

import (
	"strings"

	"github.com/nikolalohinski/gonja/v2/config"
	"github.com/nikolalohinski/gonja/v2/tokens"
)

// The library's "in" takes the name or literal after it and no more: 'a' in b | list is ('a' in b) | list to it, in silence. So bracketOperands puts
// brackets around what Jinja takes: all up to a word or sign that binds less.

// operandEnds are the tokens that end the operand of an "in" beside it.
var operandEnds = map[tokens.Type]bool{
	tokens.And: true, tokens.Or: true, tokens.Not: true, tokens.Is: true, tokens.In: true,
	tokens.Equals: true, tokens.Ne: true, tokens.GreaterThan: true, tokens.GreaterThanOrEqual: true, tokens.LowerThan: true, tokens.LowerThanOrEqual: true,
	tokens.Comma: true, tokens.Colon: true, tokens.Assign: true, tokens.RightParenthesis: true, tokens.RightBracket: true, tokens.RightBrace: true,
	tokens.VariableEnd: true, tokens.BlockEnd: true,
}

func bracketOperands(source string, cfg *config.Config) string {
	var out strings.Builder
	written := 0
	write := func(bracket byte, at int) {
		out.WriteString(source[written:at])
		out.WriteByte(bracket)
		written = at
	}
	var last [2]tokens.Token // the token before and the one before that
	var open []int           // the depths of the operands that are open
	depth, loop, begins := 0, false, false
	for stream := tokens.LexAll(source, cfg); !stream.End(); {
		t := *stream.Next()
		ends := operandEnds[t.Type] || t.Type == tokens.Name && (t.Val == "if" || t.Val == "else") && last[0].Type != tokens.Dot
		if begins && !ends {
			write('(', t.Pos)
			open = append(open, depth)
		} else if n := len(open); n > 0 && ends && open[n-1] == depth {
			write(')', t.Pos)
			open = open[:n-1]
		}
		begins = false
		switch t.Type {
		case tokens.LeftParenthesis, tokens.LeftBracket, tokens.LeftBrace:
			depth++
		case tokens.RightParenthesis, tokens.RightBracket, tokens.RightBrace:
			depth--
		case tokens.BlockBegin, tokens.VariableBegin:
			depth, open, loop = 0, nil, false
		case tokens.Name:
			loop = loop || t.Val == "for" && last[0].Type == tokens.BlockBegin
		case tokens.In:
			test := last[0].Type == tokens.Is || last[0].Type == tokens.Not && last[1].Type == tokens.Is // "is in" takes no more
			begins = !test && !(loop && depth == 0)
			loop = loop && depth > 0
		}
		last = [2]tokens.Token{t, last[0]}
	}
	return out.String() + source[written:]
}
