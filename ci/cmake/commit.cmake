# cmake -DSOURCE=<tree> -DOUTPUT=<commit.cpp> -P commit.cmake: the tree's git commit as C++, written only when changed.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty --abbrev=12 --exclude=*
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
execute_process(COMMAND git -C ${SOURCE} log -1 --format=%s
                OUTPUT_VARIABLE subject OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(failed OR NOT commit)
  set(commit unknown)
endif()
foreach(special "\\" "\"" "?")  # "??/" is a trigraph
  string(REPLACE "${special}" "\\${special}" subject "${subject}")
endforeach()
set(text "namespace ringside {
extern const char* const git_commit;
extern const char* const git_commit_subject;
const char* const git_commit = \"${commit}\";
const char* const git_commit_subject = \"${subject}\";
}
")
set(written "")
if(EXISTS ${OUTPUT})
  file(READ ${OUTPUT} written)
endif()
if(NOT written STREQUAL text)
  file(WRITE ${OUTPUT} "${text}")
endif()
