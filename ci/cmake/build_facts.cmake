# Compiles facts of the build into the program: version, flags, libraries.
string(TOUPPER "${CMAKE_BUILD_TYPE}" config)
set(flags ${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${config}})
if(RINGSIDE_MARCH)
  list(APPEND flags -march=${RINGSIDE_MARCH})
endif()
if(RINGSIDE_SANITIZE)
  list(APPEND flags -fsanitize=${RINGSIDE_SANITIZE})
endif()
string(JOIN " " flags ${flags})
set(libxsmm none)
if(RINGSIDE_HAVE_LIBXSMM)
  file(STRINGS ${LIBXSMM_INCLUDE_DIR}/libxsmm_version.h libxsmm REGEX "CONFIG_VERSION \"")
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" libxsmm "${libxsmm}")
endif()
set_source_files_properties(
  fingerprint.cpp PROPERTIES COMPILE_DEFINITIONS
  "RINGSIDE_VERSION=\"${PROJECT_VERSION}\";RINGSIDE_COMPILER=\"${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}\";\
RINGSIDE_FLAGS=\"${flags}\";RINGSIDE_BUILD_TYPE=\"${CMAKE_BUILD_TYPE}\";RINGSIDE_LIBXSMM=\"${libxsmm}\";\
RINGSIDE_LIBRARIES=\"Eigen ${Eigen3_VERSION}, fmt ${fmt_VERSION}, CLI11 ${CLI11_VERSION}, \
nlohmann-json ${nlohmann_json_VERSION}\"")
