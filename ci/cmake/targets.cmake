# How our targets are compiled, and how tests are registered.

# Applies the project's flags to `target`: warnings, which CMAKE_COMPILE_WARNING_AS_ERROR makes errors, and one -march.
function(ringside_target target)
  target_include_directories(${target} PUBLIC ${PROJECT_SOURCE_DIR})
  set(options -Wall -Wextra -Wshadow -Wconversion)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    list(APPEND options -Wno-restrict)  # g++ 12 sees overlaps in std::string's + (PR 105651)
    if(CMAKE_CXX_COMPILER_VERSION VERSION_LESS 13)
      list(APPEND options -Wno-maybe-uninitialized)  # and no value in its own AVX-512 intrinsics (PR 105593)
    endif()
  endif()
  if(RINGSIDE_MARCH)
    list(APPEND options -march=${RINGSIDE_MARCH})
  endif()
  target_compile_options(${target} PRIVATE "$<$<COMPILE_LANGUAGE:CXX>:${options};-Wpedantic>")
  if(RINGSIDE_HAVE_CUDA)  # the host code that nvcc writes is not pedantic
    list(JOIN options "," options)
    # Device code may call constexpr functions. In one that asks __builtin_constant_p, nvcc takes that for a call of the
    # host's and drops the whole body without a word; 0 is an answer that is always right, for the host as well.
    target_compile_options(
      ${target} PRIVATE "$<$<COMPILE_LANGUAGE:CUDA>:-Xcompiler=${options};-Xptxas=-v;--expt-relaxed-constexpr;-D__builtin_constant_p(x)=0>")
  endif()
  if(RINGSIDE_SANITIZE)
    target_compile_options(${target} PRIVATE -fsanitize=${RINGSIDE_SANITIZE} -fno-sanitize-recover=all
                                             -fno-omit-frame-pointer)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
      target_compile_options(${target} PRIVATE -Wno-maybe-uninitialized -Wno-uninitialized)  # false under sanitizers, says gcc's manual
    endif()
    target_link_options(${target} PUBLIC -fsanitize=${RINGSIDE_SANITIZE})
  endif()
endfunction()

# ringside_library(NAME SOURCES … [PUBLIC libraries …] [PRIVATE libraries …]): a static library of ours.
function(ringside_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  ringside_target(${name})
  target_link_libraries(${name} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# ringside_compact(TARGET [OPTIMIZED]): its sources are compiled eight at a time, as headers take most of a source's time;
# and in a release quickly, unless it is OPTIMIZED because somebody waits for what it computes.
function(ringside_compact target)
  set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE 8)
  if(NOT OPTIMIZED IN_LIST ARGN)
    target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  endif()
endfunction()

# ringside_room(NAME [OPTIMIZED] …): the library of a room of the harness.
function(ringside_room name)
  cmake_parse_arguments(ARG "OPTIMIZED" "" "" ${ARGN})
  ringside_library(${name} ${ARG_UNPARSED_ARGUMENTS})
  ringside_compact(${name} ${ARGN})
endfunction()

# For a target with CUDA code: the runtime library, and its place in the target `cuda_code`.
function(ringside_cuda_target target)
  target_link_libraries(${target} PRIVATE ${RINGSIDE_CUDART})
  add_dependencies(cuda_code ${target})
endfunction()

# Whether tests that start the program are built, and those that start it under MPI, whose libraries are not clean under
# the thread sanitizer.
set(RINGSIDE_TEST_PROGRAM ${RINGSIDE_BUILD_TESTS})
if(RINGSIDE_SANITIZE MATCHES thread)
  set(RINGSIDE_TEST_PROGRAM OFF)
endif()
set(RINGSIDE_TEST_MPI ${RINGSIDE_TEST_PROGRAM})
if(NOT RINGSIDE_MPI)
  set(RINGSIDE_TEST_MPI OFF)
endif()

file(STRINGS ${PROJECT_SOURCE_DIR}/ci/mpi.env RINGSIDE_MPI_ENVIRONMENT REGEX "^[A-Z]")
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${PROJECT_SOURCE_DIR}/ci/mpi.env)
# What tests of MPI run with: leaks that are MPI's own are no failures under sanitizers.
set(RINGSIDE_TEST_ENVIRONMENT
    ${RINGSIDE_MPI_ENVIRONMENT}
    ASAN_OPTIONS=fast_unwind_on_malloc=0 LSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/ci/lsan.supp:print_suppressions=0)

# ringside_suites(FILTER SOURCES…): the --gtest_filter of all suites in these files, in the variable FILTER. A file that changes
# is read again before the next build.
function(ringside_suites filter)
  set(all "")
  foreach(source IN LISTS ARGN)
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${source})
    file(STRINGS ${source} suites REGEX "^TEST(_F|_P)?\\(")
    list(TRANSFORM suites REPLACE "^[A-Z_]+\\(([^,]+),.*" "\\1.*:*/\\1.*")  # the latter have parameters
    list(APPEND all ${suites})
  endforeach()
  list(REMOVE_DUPLICATES all)
  string(JOIN ":" all ${all})
  set(${filter} ${all} PARENT_SCOPE)
endfunction()

# ringside_test(NAME [IN PROGRAM] [THREADS] [STARTS_RINGSIDE] SOURCES … [LIBS …] [DEFINITIONS …] [MPI_RANKS n…] [TIMEOUT s]
#               [SHARDS n])
# Tests, in a GoogleTest program of their own or IN one that several share, which is compiled as the rooms are. Without
# MPI_RANKS they run by themselves; with them, once under mpirun for each count (main is then the program's own). A run that
# executes no test fails. The thread sanitizer has those with THREADS alone.
function(ringside_test name)
  cmake_parse_arguments(ARG "THREADS;STARTS_RINGSIDE" "IN;TIMEOUT;SHARDS" "SOURCES;LIBS;DEFINITIONS;MPI_RANKS" ${ARGN})
  if(NOT RINGSIDE_BUILD_TESTS OR (ARG_MPI_RANKS AND NOT RINGSIDE_TEST_MPI)
     OR (RINGSIDE_SANITIZE MATCHES thread AND NOT ARG_THREADS))
    return()
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  if(RINGSIDE_SANITIZE)
    math(EXPR ARG_TIMEOUT "10 * ${ARG_TIMEOUT}")  # what sanitizers take on a busy machine
  endif()
  set(program ${name})
  if(ARG_IN)
    set(program ${ARG_IN})
    ringside_suites(filter ${ARG_SOURCES})
    set(filter --gtest_filter=${filter})
  endif()
  if(NOT TARGET ${program})
    add_executable(${program})
    ringside_target(${program})
    target_compile_definitions(${program} PRIVATE RINGSIDE_CASES="${PROJECT_SOURCE_DIR}/cases")
    target_link_libraries(${program} PRIVATE GTest::gmock GTest::gtest)
    if(ARG_IN)
      ringside_compact(${program})
    endif()
    if(NOT ARG_MPI_RANKS)
      target_link_libraries(${program} PRIVATE GTest::gtest_main)
    endif()
  endif()
  target_sources(${program} PRIVATE ${ARG_SOURCES})
  target_compile_definitions(${program} PRIVATE ${ARG_DEFINITIONS})
  target_link_libraries(${program} PRIVATE ${ARG_LIBS})
  if(NOT ARG_MPI_RANKS)
    if(NOT ARG_SHARDS)
      set(ARG_SHARDS 1)
    endif()
    math(EXPR last "${ARG_SHARDS} - 1")
    if(RINGSIDE_SANITIZE AND ARG_SHARDS GREATER 1)
      math(EXPR ARG_SHARDS "3 * ${ARG_SHARDS}")  # a third of so long a program's tests
    endif()
    foreach(shard RANGE ${last})  # every SHARDS-th test of the program, from this one on
      set(test ${name})
      if(shard GREATER 0)
        set(test ${name}.${shard})
      endif()
      add_test(NAME ${test} COMMAND ${program} ${filter})
      set_tests_properties(${test} PROPERTIES
                           ENVIRONMENT "GTEST_TOTAL_SHARDS=${ARG_SHARDS};GTEST_SHARD_INDEX=${shard}")
      list(APPEND tests ${test})
    endforeach()
  endif()
  foreach(ranks IN LISTS ARG_MPI_RANKS)
    add_test(NAME ${name}.mpi${ranks}
             COMMAND ${MPIEXEC_EXECUTABLE} ${MPIEXEC_NUMPROC_FLAG} ${ranks} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}.mpi${ranks} PROPERTIES LABELS mpi PROCESSORS ${ranks}
                                                        ENVIRONMENT "${RINGSIDE_TEST_ENVIRONMENT}")
    list(APPEND tests ${name}.mpi${ranks})
  endforeach()
  if(ARG_STARTS_RINGSIDE)
    add_dependencies(${program} ringside)
    target_compile_definitions(${program} PRIVATE RINGSIDE_PROGRAM="$<TARGET_FILE:ringside>" MPIRUN="${MPIEXEC_EXECUTABLE}")
    set_tests_properties(${name} PROPERTIES LABELS mpi PROCESSORS 2 ENVIRONMENT "${RINGSIDE_TEST_ENVIRONMENT}")
  endif()
  set_tests_properties(${tests} PROPERTIES TIMEOUT ${ARG_TIMEOUT} FAIL_REGULAR_EXPRESSION "Running 0 tests")
endfunction()

# ringside_benchmark(NAME SOURCES … [LIBS …]): a Google Benchmark program.
function(ringside_benchmark name)
  cmake_parse_arguments(ARG "" "" "SOURCES;LIBS" ${ARGN})
  if(NOT RINGSIDE_BUILD_BENCHMARKS)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  ringside_target(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} benchmark::benchmark benchmark::benchmark_main)
endfunction()
