#!/bin/bash
# Prints its arguments as a list of Python 2 strings, as the program of this name in Oils' tests does.
export LC_ALL=C
line=
for word; do
    text= quote="'"
    [[ $word == *"'"* && $word != *'"'* ]] && quote='"'
    for ((i = 0; i < ${#word}; i++)); do
        char=${word:i:1}
        case $char in
        $'\n') text+='\n' ;;
        $'\r') text+='\r' ;;
        $'\t') text+='\t' ;;
        \\) text+='\\' ;;
        \') [[ $quote == "'" ]] && text+="\\'" || text+="'" ;;
        [[:print:]]) text+=$char ;;
        *)
            printf -v code %d "'$char"
            printf -v char '\\x%02x' $((code & 255))
            text+=$char
            ;;
        esac
    done
    line+=${line:+, }$quote$text$quote
done
printf '[%s]\n' "$line"
