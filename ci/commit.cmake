# cmake -DSOURCE=<tree> -DOUTPUT=<commit.cpp> -P commit.cmake: the tree's git commit as C++, written only when changed.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed OR NOT commit)
  set(commit unknown)
endif()
set(text "namespace ringside {\nextern const char* const git_commit;\nconst char* const git_commit = \"${commit}\";\n}\n")
set(written "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} written)
endif()
if(NOT written STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
